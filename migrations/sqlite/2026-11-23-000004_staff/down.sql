DROP INDEX audit_by_actor;
DROP INDEX audit_by_event;
DROP TABLE event_approval;
