ALTER TABLE event_lane DROP COLUMN block_paid;
