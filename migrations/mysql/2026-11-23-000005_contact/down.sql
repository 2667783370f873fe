ALTER TABLE events DROP COLUMN claim_until;
DROP TABLE contact_erasure;
DROP TABLE contact;
