ALTER TABLE event_entry DROP COLUMN missions;
DROP TABLE mission_outbox;
DROP TABLE mission_mark;
DROP TABLE member_mission;
DROP TABLE mission;
