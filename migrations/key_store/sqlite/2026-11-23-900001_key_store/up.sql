-- Contact keys of events, wrapped; and the list of deletions and erasures, which a restored database is told again.

CREATE TABLE event_key (
  event_id BIGINT NOT NULL PRIMARY KEY,
  key_id BLOB NOT NULL,
  public_key BLOB NOT NULL,
  wrapped_key BLOB NULL,
  wrapped_by BLOB NOT NULL,
  created_at BIGINT NOT NULL,
  destroyed_at BIGINT NULL
);

CREATE TABLE erasure (
  erasure_id BLOB NOT NULL PRIMARY KEY,
  subject SMALLINT NOT NULL,
  subject_id BIGINT NOT NULL,
  actor VARCHAR(200) NOT NULL,
  request_id VARCHAR(128) NOT NULL,
  erased_at BIGINT NOT NULL,
  record TEXT NULL
);
CREATE INDEX erasure_by_subject ON erasure (subject, subject_id);
