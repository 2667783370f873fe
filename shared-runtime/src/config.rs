//! Settings that several binaries share.

/// A setting that cannot be used; the start stops with exit code 2 and this message.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct ConfigError {
    /// The setting's environment variable name.
    pub setting: String,
    /// What is wrong with it, for the operator.
    pub problem: String,
}
