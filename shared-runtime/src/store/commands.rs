//! What staff's requests do to the database: each in one transaction, with its audit line and its kept answer.
