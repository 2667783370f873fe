-- Tests make a database each, `events_...`, beside the system's own.
GRANT ALL ON `events%`.* TO 'event'@'%';
