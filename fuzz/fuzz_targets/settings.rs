//! `[workspace.metadata.etcd]`: a setting that is taken is one that can be used.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // The table itself, without the luck that its name would take; and the whole manifest.
    let table = format!("[workspace.metadata.etcd]\n{text}");
    for manifest in [&table, text] {
        let Some(settings) = etcd_local::fuzzing::settings(manifest) else { continue };
        assert!(!settings.test_root.is_empty() && !settings.test_root.contains('/'));
        let Some(root) = settings.root else { continue };
        assert!(root.starts_with('/') && !root.ends_with('/') && root.len() > 1);
        let roots = etcd_sandbox::runs::Roots::new(&root, &settings.test_root, &settings.protected);
        if let Ok(roots) = roots {
            assert!(roots.check(&roots.range()).is_ok());
            assert!(roots.test_root().starts_with(&format!("{root}/")));
        }
    }
});
