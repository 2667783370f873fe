//! apply-worker
