DROP TABLE draw_disqualified;
DROP TABLE draw_result;
DROP TABLE draw;
ALTER TABLE event_reward DROP COLUMN wrapped_key;
