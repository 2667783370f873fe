//! What can be wrong with a setting, said once and in one form.

/// A setting that cannot be used. The process prints it and exits with 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct ConfigError {
    /// The environment variable's name, e.g. `AUTH_JWKS`.
    pub setting: String,
    /// What is wrong with it and what would be right.
    pub problem: String,
}

impl ConfigError {
    /// A problem with one setting.
    pub fn new(setting: impl Into<String>, problem: impl ToString) -> Self {
        Self { setting: setting.into(), problem: problem.to_string() }
    }

    /// A setting without which the real stack cannot be reached.
    pub fn required(setting: impl Into<String>) -> Self {
        Self::new(setting, "is required with the real stack (`event-system serve` needs none)")
    }
}

/// Takes a text that must say something. An empty one, e.g. from a secret that was not filled in, is a mistake everywhere,
/// never the same as none: unset it to have none. For clap's `value_parser`.
pub fn not_empty(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("is empty; give a value, or unset it".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// Why a process could not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong; starting again changes nothing.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A dependency did not answer; starting again may help.
    #[error("{setting}: cannot be reached: {problem}")]
    Unreachable {
        /// The setting that names the dependency.
        setting: String,
        /// What went wrong.
        problem: String,
    },
}

impl StartError {
    /// A dependency that did not answer, by the setting that names it.
    pub fn unreachable(setting: impl Into<String>, problem: impl ToString) -> Self {
        Self::Unreachable { setting: setting.into(), problem: problem.to_string() }
    }

    /// Says it on standard error, and gives the exit code.
    #[allow(clippy::print_stderr)] // the log may not be set up yet, and a person reads this
    pub fn exit(&self, program: &str) -> std::process::ExitCode {
        eprintln!("{program}: {self}");
        std::process::ExitCode::from(self.exit_code())
    }

    /// The process's exit code: 2 for a wrong setting, 3 for a dependency that is unreachable.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Unreachable { .. } => 3,
        }
    }
}
