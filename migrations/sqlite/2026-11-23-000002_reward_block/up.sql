-- Points paid in the current block of 1,000 prizes, where AVERAGE_RANDOM has no stock (DESIGN section 7).
ALTER TABLE event_lane ADD COLUMN block_paid BIGINT NOT NULL DEFAULT 0;
