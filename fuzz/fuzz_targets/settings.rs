//! `[workspace.metadata.etcd]`: a setting that is taken is one that can be used.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // The table itself, without the luck that its name would take; and the whole manifest.
    let table = format!("[workspace.metadata.etcd]\n{text}");
    for manifest in [&table, text] {
        let Some(settings) = etcd_local::fuzzing::settings(manifest) else { continue };
        assert!(settings.root.starts_with('/') && !settings.root.ends_with('/') && settings.root.len() > 1);
        assert!(!settings.test_root.is_empty() && !settings.test_root.contains('/'));
        let roots = etcd_sandbox::Roots::new(&settings.root, &settings.test_root, &settings.protected);
        if let Ok(roots) = roots {
            assert!(roots.check(&roots.range()).is_ok());
            assert!(roots.test_root().starts_with(&format!("{}/", settings.root)));
        }
    }
});
