//! The example does what it shows.

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
    assert!(rest.contains("\ntoo late: `racks/rack/rack1` has revision "), "{rest}");
    Ok(())
}
