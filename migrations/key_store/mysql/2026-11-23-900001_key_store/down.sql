DROP TABLE erasure;
DROP TABLE event_key;
