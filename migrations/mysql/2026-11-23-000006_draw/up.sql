-- Draws: the record of each raffle's draw, its winners and alternates, and who was disqualified. The wrapped reward key.

ALTER TABLE event_reward ADD COLUMN wrapped_key VARBINARY(255) NULL;

CREATE TABLE draw (
  event_id BIGINT NOT NULL PRIMARY KEY,
  draw_id BINARY(16) NOT NULL,
  phase SMALLINT NOT NULL,
  requested BOOLEAN NOT NULL,
  publish BOOLEAN NOT NULL,
  rules_version INTEGER NOT NULL,
  method SMALLINT NOT NULL,
  max_winners BIGINT NOT NULL,
  max_alternates BIGINT NOT NULL,
  commitment BINARY(32) NOT NULL,
  wrapped_seed VARBINARY(255) NOT NULL,
  seed BINARY(32) NULL,
  trust SMALLINT NOT NULL,
  beacon_chain BINARY(32) NULL,
  beacon_round BIGINT NULL,
  beacon_randomness BINARY(32) NULL,
  beacon_signature VARBINARY(255) NULL,
  entrants BIGINT NULL,
  list_digest BINARY(32) NULL,
  winners BIGINT NOT NULL,
  paid BIGINT NOT NULL,
  stored_places BIGINT NOT NULL,
  applied_places BIGINT NOT NULL,
  applied_lane INTEGER NOT NULL,
  applied_seq BIGINT NOT NULL,
  frozen_at BIGINT NULL,
  decided_at BIGINT NULL,
  published_at BIGINT NULL
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX draw_by_phase ON draw (phase, event_id);

CREATE TABLE draw_result (
  event_id BIGINT NOT NULL,
  place BIGINT NOT NULL,
  entry_id BINARY(16) NOT NULL,
  entry_rank BIGINT NULL,
  alternate BIGINT NULL,
  reward_amount BIGINT NOT NULL,
  disqualified BOOLEAN NOT NULL,
  PRIMARY KEY (event_id, place),
  UNIQUE (event_id, entry_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE draw_disqualified (
  event_id BIGINT NOT NULL,
  ordinal BIGINT NOT NULL,
  entry_id BINARY(16) NOT NULL,
  replaced_by BINARY(16) NULL,
  reason VARCHAR(1000) NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (event_id, ordinal)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
