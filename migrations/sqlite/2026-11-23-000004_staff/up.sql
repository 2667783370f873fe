-- Approvals that changed after scheduling, by the first place that they judge; look-ups of the audit log.

CREATE TABLE event_approval (
  event_id BIGINT NOT NULL,
  lane INTEGER NOT NULL,
  from_seq BIGINT NOT NULL,
  review_number VARCHAR(100) NOT NULL,
  approved_from BIGINT NOT NULL,
  approved_until BIGINT NOT NULL,
  PRIMARY KEY (event_id, lane, from_seq)
);

CREATE INDEX audit_by_event ON audit_log (event_id, audit_id);
CREATE INDEX audit_by_actor ON audit_log (actor, audit_id);
