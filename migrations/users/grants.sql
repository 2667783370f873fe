-- What each role may do, and nothing else: a line a table, read off the queries in shared-runtime/src/store/queries.
-- users.sh fills in the names between @ and prints it. Run again after every migration: a table that is new has no rights.

-- Gateways read what they show and what they decide admission by. They write for a winner's claim alone: the event's lock
-- row, and the contact, which they cannot read again. DELETE of a contact needs its key columns, not the sealed one.
GRANT SELECT ON @db@.events TO @gateway@;
GRANT SELECT ON @db@.event_lane TO @gateway@;
GRANT SELECT ON @db@.event_stock TO @gateway@;
GRANT SELECT ON @db@.event_entry TO @gateway@;
GRANT SELECT ON @db@.partition_progress TO @gateway@;
GRANT SELECT (event_id, kind, settled_at) ON @db@.outbox TO @gateway@;
GRANT SELECT ON @db@.draw TO @gateway@;
GRANT SELECT ON @db@.draw_result TO @gateway@;
GRANT SELECT ON @db@.draw_disqualified TO @gateway@;
GRANT SELECT ON @db@.contact_erasure TO @gateway@;
GRANT SELECT (event_id, next_ordinal), UPDATE (next_ordinal) ON @db@.event_lock TO @gateway@;
GRANT SELECT (event_id, entry_id), INSERT, DELETE ON @db@.contact TO @gateway@;
GRANT SELECT ON @db@.mission TO @gateway@;
GRANT SELECT ON @db@.member_mission TO @gateway@;

-- Workers decide. They make the rows of an event that the database does not know, and change none of staff's; of an entry
-- that is there only the missions that weigh on it change; what missions earned is written, and published by admin-api; contacts are written and not read.
GRANT SELECT, INSERT, UPDATE (next_offset, last_hash, updated_at) ON @db@.partition_progress TO @worker@;
GRANT SELECT, INSERT, UPDATE, DELETE ON @db@.event_lane TO @worker@;
GRANT SELECT, INSERT, UPDATE (granted, stock_count) ON @db@.event_stock TO @worker@;
GRANT SELECT, INSERT, UPDATE (missions) ON @db@.event_entry TO @worker@;
GRANT INSERT ON @db@.mission TO @worker@;
GRANT SELECT, INSERT, UPDATE (current_value, latest_at, is_completed, completed_at) ON @db@.member_mission TO @worker@;
GRANT SELECT, INSERT ON @db@.mission_mark TO @worker@;
GRANT INSERT ON @db@.mission_outbox TO @worker@;
GRANT SELECT, INSERT ON @db@.command_applied TO @worker@;
GRANT SELECT, INSERT, DELETE ON @db@.event_approval TO @worker@;
GRANT SELECT, INSERT, UPDATE (given_up), DELETE ON @db@.parked_record TO @worker@;
GRANT SELECT, INSERT ON @db@.events TO @worker@;
GRANT INSERT ON @db@.event_lock TO @worker@;
GRANT SELECT (event_id), INSERT, UPDATE (wrapped_key) ON @db@.event_reward TO @worker@;
GRANT INSERT ON @db@.draw TO @worker@;
GRANT SELECT ON @db@.contact_erasure TO @worker@;
GRANT SELECT (event_id, entry_id), INSERT, DELETE ON @db@.contact TO @worker@;

-- admin-api: staff's events and commands, draws, exports, deletions. It decides no entry: no stock, no cursor, no new entry.
-- The audit log, answers and disqualifications are appended to. UPDATE of a cursor's time is how a deletion holds lanes off.
GRANT SELECT, INSERT, UPDATE ON @db@.events TO @admin@;
GRANT SELECT, INSERT, UPDATE (next_ordinal) ON @db@.event_lock TO @admin@;
GRANT SELECT, INSERT, UPDATE, DELETE ON @db@.event_reward TO @admin@;
GRANT SELECT, UPDATE (unpark_requested) ON @db@.event_lane TO @admin@;
GRANT SELECT ON @db@.event_stock TO @admin@;
GRANT SELECT, UPDATE (status, reason, entry_rank, reward_amount, decided_at) ON @db@.event_entry TO @admin@;
GRANT SELECT, UPDATE (updated_at) ON @db@.partition_progress TO @admin@;
GRANT SELECT ON @db@.command_applied TO @admin@;
GRANT SELECT ON @db@.event_approval TO @admin@;
GRANT SELECT, UPDATE (record) ON @db@.parked_record TO @admin@;
GRANT SELECT, INSERT ON @db@.mission TO @admin@;
GRANT SELECT, UPDATE (published_at) ON @db@.mission_outbox TO @admin@;
GRANT SELECT, INSERT, UPDATE ON @db@.outbox TO @admin@;
GRANT SELECT, UPDATE (holder, held_until) ON @db@.relay_lease TO @admin@;
GRANT SELECT, INSERT ON @db@.idempotency_key TO @admin@;
GRANT SELECT, INSERT ON @db@.audit_log TO @admin@;
GRANT SELECT, INSERT, UPDATE ON @db@.draw TO @admin@;
GRANT SELECT, INSERT, UPDATE (entry_rank, reward_amount, disqualified) ON @db@.draw_result TO @admin@;
GRANT SELECT, INSERT ON @db@.draw_disqualified TO @admin@;
GRANT SELECT, DELETE ON @db@.contact TO @admin@;
GRANT SELECT, INSERT, UPDATE ON @db@.contact_erasure TO @admin@;

-- The key store (KEY_STORE_URL), which admin-api and `event-system keys rotate` open. The list of deletions is for ever.
GRANT SELECT, INSERT, UPDATE (wrapped_key, wrapped_by, destroyed_at) ON @key_db@.event_key TO @keys@;
GRANT SELECT, INSERT, UPDATE (record) ON @key_db@.erasure TO @keys@;

-- Operators, for `event-system lanes`, `parked`, `reconcile` and the live side of `replay`. No contact, sealed or not: only
-- whose there is one.
GRANT SELECT ON @db@.events TO @operator@;
GRANT SELECT, UPDATE (next_ordinal) ON @db@.event_lock TO @operator@;
GRANT SELECT, UPDATE (unpark_requested, wins, losses, rejections, paid, block_paid, exhausted_offset, exhausted_log_id) ON @db@.event_lane TO @operator@;
GRANT SELECT ON @db@.event_stock TO @operator@;
GRANT SELECT ON @db@.event_entry TO @operator@;
GRANT SELECT ON @db@.event_approval TO @operator@;
GRANT SELECT ON @db@.event_reward TO @operator@;
GRANT SELECT, INSERT, UPDATE (next_offset, last_hash, updated_at) ON @db@.partition_progress TO @operator@;
GRANT SELECT, INSERT, UPDATE (published_at) ON @db@.outbox TO @operator@;
GRANT SELECT, UPDATE (published_at) ON @db@.mission_outbox TO @operator@;
GRANT SELECT ON @db@.mission TO @operator@;
GRANT SELECT ON @db@.member_mission TO @operator@;
GRANT SELECT ON @db@.mission_mark TO @operator@;
GRANT SELECT (event_id, entry_id) ON @db@.contact TO @operator@;
GRANT SELECT ON @db@.command_applied TO @operator@;
GRANT SELECT ON @db@.parked_record TO @operator@;
GRANT SELECT ON @db@.contact_erasure TO @operator@;
GRANT SELECT ON @db@.draw TO @operator@;
GRANT SELECT ON @db@.draw_result TO @operator@;
GRANT SELECT ON @db@.draw_disqualified TO @operator@;
GRANT SELECT ON @db@.relay_lease TO @operator@;
GRANT SELECT, INSERT ON @db@.audit_log TO @operator@;
