-- The core: events, their lanes and stock, entries, progress through the log, commands, parked records, audit.

CREATE TABLE events (
  event_id BIGINT NOT NULL AUTO_INCREMENT,
  lifecycle SMALLINT NOT NULL,
  paused BOOLEAN NOT NULL,
  title VARCHAR(200) NOT NULL,
  content MEDIUMTEXT NOT NULL,
  event_type SMALLINT NOT NULL,
  starts_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,
  draft MEDIUMTEXT NULL,
  scheduled MEDIUMBLOB NULL,
  topic VARCHAR(200) NULL,
  lane_count INTEGER NOT NULL,
  salt BINARY(32) NULL,
  limit_per_second BIGINT NULL,
  raffle_limit_per_second BIGINT NULL,
  member_limit_per_second BIGINT NULL,
  high_traffic BOOLEAN NULL,
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  deleted_at BIGINT NULL,
  PRIMARY KEY (event_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX events_by_lifecycle ON events (lifecycle, ends_at);

CREATE TABLE event_lock (
  event_id BIGINT NOT NULL PRIMARY KEY,
  lock_key VARCHAR(64) NOT NULL UNIQUE,
  next_ordinal BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE event_lane (
  event_id BIGINT NOT NULL,
  lane INTEGER NOT NULL,
  is_scheduled BOOLEAN NOT NULL,
  seq BIGINT NOT NULL,
  wins BIGINT NOT NULL,
  losses BIGINT NOT NULL,
  rejections BIGINT NOT NULL,
  paid BIGINT NOT NULL,
  digest BINARY(32) NOT NULL,
  review_number VARCHAR(100) NULL,
  approved_from BIGINT NULL,
  approved_until BIGINT NULL,
  closed_offset BIGINT NULL,
  deleted_offset BIGINT NULL,
  exhausted_offset BIGINT NULL,
  exhausted_log_id VARCHAR(64) NULL,
  parked_offset BIGINT NULL,
  parked_since BIGINT NULL,
  parked_reason VARCHAR(1000) NULL,
  unpark_requested BOOLEAN NOT NULL,
  PRIMARY KEY (event_id, lane)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE event_stock (
  event_id BIGINT NOT NULL,
  lane INTEGER NOT NULL,
  option_index SMALLINT NOT NULL,
  option_name VARCHAR(100) NOT NULL,
  granted BIGINT NOT NULL,
  stock_count BIGINT NOT NULL,
  PRIMARY KEY (event_id, lane, option_index),
  CHECK (stock_count >= 0 AND stock_count <= granted)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE event_reward (
  event_id BIGINT NOT NULL PRIMARY KEY,
  reward_type VARCHAR(20) NOT NULL,
  min_amount BIGINT NULL,
  max_amount BIGINT NULL,
  target_average BIGINT NULL,
  fixed_amount BIGINT NULL
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE event_entry (
  event_id BIGINT NOT NULL,
  lane INTEGER NOT NULL,
  seq BIGINT NOT NULL,
  entry_id BINARY(16) NOT NULL,
  member_id BIGINT NOT NULL,
  status SMALLINT NOT NULL,
  reason SMALLINT NULL,
  option_index SMALLINT NULL,
  reward_amount BIGINT NOT NULL,
  entry_rank BIGINT NULL,
  log_offset BIGINT NOT NULL,
  accepted_at BIGINT NOT NULL,
  decided_at BIGINT NOT NULL,
  PRIMARY KEY (event_id, lane, seq),
  UNIQUE (event_id, entry_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX entries_by_member ON event_entry (member_id, event_id);

CREATE TABLE partition_progress (
  log_id VARCHAR(64) NOT NULL,
  topic VARCHAR(200) NOT NULL,
  partition_id INTEGER NOT NULL,
  next_offset BIGINT NOT NULL,
  last_hash BINARY(32) NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (log_id, topic, partition_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE outbox (
  event_id BIGINT NOT NULL,
  ordinal BIGINT NOT NULL,
  lane INTEGER NOT NULL,
  command_id BINARY(16) NOT NULL,
  kind VARCHAR(20) NOT NULL,
  topic VARCHAR(200) NOT NULL,
  record MEDIUMBLOB NOT NULL,
  not_before BIGINT NULL,
  published_at BIGINT NULL,
  settled_at BIGINT NULL,
  status SMALLINT NOT NULL,
  reason VARCHAR(64) NULL,
  actor VARCHAR(200) NOT NULL,
  request_id VARCHAR(128) NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (event_id, ordinal, lane),
  UNIQUE (command_id, lane)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX outbox_by_published ON outbox (published_at, event_id, ordinal);
CREATE INDEX outbox_by_settled ON outbox (settled_at, event_id);

CREATE TABLE command_applied (
  command_id BINARY(16) NOT NULL,
  lane INTEGER NOT NULL,
  event_id BIGINT NOT NULL,
  log_offset BIGINT NOT NULL,
  status SMALLINT NOT NULL,
  reason VARCHAR(64) NULL,
  applied_at BIGINT NOT NULL,
  PRIMARY KEY (command_id, lane)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE parked_record (
  event_id BIGINT NOT NULL,
  lane INTEGER NOT NULL,
  log_offset BIGINT NOT NULL,
  record MEDIUMBLOB NOT NULL,
  reason VARCHAR(1000) NOT NULL,
  parked_at BIGINT NOT NULL,
  given_up BOOLEAN NOT NULL,
  PRIMARY KEY (event_id, lane, log_offset)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE idempotency_key (
  actor VARCHAR(200) NOT NULL,
  route VARCHAR(200) NOT NULL,
  request_key VARCHAR(64) NOT NULL,
  body_hash BINARY(32) NOT NULL,
  answer_status SMALLINT NOT NULL,
  answer MEDIUMTEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (actor, route, request_key)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE relay_lease (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  holder BINARY(16) NOT NULL,
  held_until BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO relay_lease (name, holder, held_until) VALUES ('outbox', X'00000000000000000000000000000000', 0);

CREATE TABLE audit_log (
  audit_id BIGINT NOT NULL AUTO_INCREMENT,
  at BIGINT NOT NULL,
  actor VARCHAR(200) NOT NULL,
  action VARCHAR(64) NOT NULL,
  event_id BIGINT NULL,
  request_id VARCHAR(128) NOT NULL,
  outcome VARCHAR(32) NOT NULL,
  detail MEDIUMTEXT NOT NULL,
  PRIMARY KEY (audit_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
