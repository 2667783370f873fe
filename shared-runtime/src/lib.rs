//! shared-runtime
