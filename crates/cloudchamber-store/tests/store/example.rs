//! The example does what it shows.

use std::process::{Command, Output, Stdio};

use etcd_sandbox::Sandbox;

use crate::fixture::{Outcome, open};

#[path = "../../examples/racks.rs"]
#[expect(dead_code, reason = "it is a program of its own, with a main function")]
mod racks;

#[etcd_sandbox::test]
async fn racks_are_created_listed_and_watched(sandbox: Sandbox) -> Outcome {
    let mut out = Vec::new();
    racks::run(&open(&sandbox).await, &mut out).await?;
    let out = String::from_utf8(out)?;
    let (created, rest) = out.split_at(out.find("rack1 has").unwrap());
    assert_eq!(created.lines().count(), 3);
    assert!(created.starts_with("created Rack1 at revision "), "{created}");
    let expected = "rack1 has the blades 1, 2\nrack10 has the blades 1, 2\nrack2 has the blades 1, 2\n\
                    rack1 moved from row 1 to row 7\n";
    assert!(rest.starts_with(expected), "{rest}");
    assert!(rest.contains("\ntoo late: cannot update `racks/rack/rack1`: the record has revision "), "{rest}");
    Ok(())
}

/// The whole example, where the next test starts it in a process of its own. It empties a part of the store.
#[tokio::test]
async fn whole() -> Outcome {
    if std::env::var_os("RUN_THE_EXAMPLE").is_some() { racks::connect_and_run().await } else { Ok(()) }
}

/// It empties a part of the store: never of an etcd that is another workspace's, or a service of the system.
#[etcd_sandbox::test(private)]
async fn the_example_uses_no_etcd_that_was_not_named(sandbox: Sandbox) -> Outcome {
    let endpoint = sandbox.endpoints().concat();
    let old = format!("{}Test/Standard/old", cloudchamber_store::ROOT);
    sandbox.raw().put(old.as_str(), "1", None).await?;
    let workspace = tempfile::tempdir()?;
    let (_, port) = endpoint.rsplit_once(':').unwrap();
    let manifest = format!("[workspace]\n[workspace.metadata.etcd]\nroot = \"/Inventory/v1\"\nport = {port}\n");
    std::fs::write(workspace.path().join("Cargo.toml"), manifest)?;
    let mut example = Command::new(std::env::current_exe()?);
    example.args(["--exact", "example::whole", "--nocapture"]).env("RUN_THE_EXAMPLE", "1");
    example.env("CARGO_MANIFEST_DIR", workspace.path());
    example.env_remove("ETCD_TEST_RUN").env_remove("ETCD_TEST_PREFIX").env_remove("ETCD_ENDPOINTS");
    example.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());

    let refused = run(&mut example).await?;
    assert!(!refused.status.success());
    let said = said(&refused);
    assert!(said.contains("is not running") && said.contains(&format!("{endpoint} is not this workspace's")), "{said}");
    assert_eq!(sandbox.raw().get(old.as_str(), None).await?.kvs().len(), 1);

    let done = run(example.env("ETCD_ENDPOINTS", &endpoint)).await?;
    let said = self::said(&done);
    assert!(done.status.success(), "{said}");
    let keys = format!("etcd at {endpoint}, below Test/Standard/, which is emptied");
    assert!(said.contains(&keys), "{said}");
    assert_eq!(sandbox.raw().get(old.as_str(), None).await?.kvs().len(), 0);
    Ok(())
}

async fn run(command: &mut Command) -> Result<Output, Box<dyn std::error::Error>> {
    let child = command.spawn()?;
    Ok(tokio::task::spawn_blocking(|| child.wait_with_output()).await??)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
