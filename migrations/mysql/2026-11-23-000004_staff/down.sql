DROP INDEX audit_by_actor ON audit_log;
DROP INDEX audit_by_event ON audit_log;
DROP TABLE event_approval;
