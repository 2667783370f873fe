-- Missions: their definitions, members' progress, and what completed ones earn on its way to the log.

CREATE TABLE mission (
  event_id BIGINT NOT NULL,
  mission_index SMALLINT NOT NULL,
  title VARCHAR(200) NOT NULL,
  mission_type VARCHAR(32) NOT NULL,
  goal_value BIGINT NOT NULL,
  self_reported BOOLEAN NOT NULL,
  option_index SMALLINT NULL,
  weight SMALLINT NULL,
  PRIMARY KEY (event_id, mission_index)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE member_mission (
  member_id BIGINT NOT NULL,
  event_id BIGINT NOT NULL,
  mission_index SMALLINT NOT NULL,
  current_value BIGINT NOT NULL,
  latest_at BIGINT NULL,
  is_completed BOOLEAN NOT NULL,
  completed_at BIGINT NULL,
  PRIMARY KEY (member_id, event_id, mission_index)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE mission_mark (
  member_id BIGINT NOT NULL,
  event_id BIGINT NOT NULL,
  mission_index SMALLINT NOT NULL,
  mark BIGINT NOT NULL,
  PRIMARY KEY (member_id, event_id, mission_index, mark)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE mission_outbox (
  outbox_id BIGINT NOT NULL AUTO_INCREMENT,
  event_id BIGINT NOT NULL,
  mission_index SMALLINT NOT NULL,
  member_id BIGINT NOT NULL,
  topic VARCHAR(200) NOT NULL,
  lane INTEGER NOT NULL,
  record BLOB NOT NULL,
  created_at BIGINT NOT NULL,
  published_at BIGINT NULL,
  PRIMARY KEY (outbox_id),
  UNIQUE (event_id, mission_index, member_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX mission_outbox_by_published ON mission_outbox (published_at, outbox_id);

ALTER TABLE event_entry ADD COLUMN missions BIGINT NOT NULL DEFAULT 0;
