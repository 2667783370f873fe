//! What an operator must know, under `alarms` of `/readyz`: each source says all of its alarms at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use shared_runtime::lifecycle::Lifecycle;

type BySource = BTreeMap<&'static str, BTreeMap<String, String>>;

/// Alarms of this process. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Alarms {
    sources: Arc<Mutex<BySource>>,
    life: Arc<OnceLock<Lifecycle>>,
}

impl Alarms {
    /// Where they are shown.
    pub(crate) fn tell(&self, life: &Lifecycle) {
        // Told twice, the first one stays.
        drop(self.life.set(life.clone()));
    }

    /// All alarms of a source, by name.
    pub(crate) fn set(&self, source: &'static str, alarms: BTreeMap<String, String>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.get(source).is_some_and(|old| *old == alarms) {
            return;
        }
        sources.insert(source, alarms);
        if let Some(life) = self.life.get() {
            life.set_alarms(sources.values().flatten().map(|(k, v)| (k.clone(), v.clone())).collect());
        }
    }
}
