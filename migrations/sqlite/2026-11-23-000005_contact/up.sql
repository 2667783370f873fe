-- Sealed contacts, what was erased and must not come back, and until when winners may claim (DESIGN section 8).

CREATE TABLE contact (
  event_id BIGINT NOT NULL,
  entry_id BLOB NOT NULL,
  sealed BLOB NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (event_id, entry_id)
);

CREATE TABLE contact_erasure (
  subject SMALLINT NOT NULL,
  subject_id BIGINT NOT NULL,
  erased_until BIGINT NOT NULL,
  contacts_destroyed BIGINT NOT NULL,
  is_done BOOLEAN NOT NULL,
  PRIMARY KEY (subject, subject_id)
);

ALTER TABLE events ADD COLUMN claim_until BIGINT NULL;
