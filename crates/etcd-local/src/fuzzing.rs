//! For the fuzz target, which cannot call private functions. Compiled only for fuzzing.

use crate::settings::Settings;

/// What the manifest of a workspace says, if it can be understood.
pub fn settings(manifest: &str) -> Option<Settings> {
    Settings::fuzz(manifest)
}
