//! A test process for those who kill things: joins the run that its environment names, or begins one of its own, and
//! writes keys until it is killed, or its run ends. Says `writing PREFIX` when the first one is there.

use etcd_sandbox::Sandbox;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), etcd_sandbox::Error> {
    let keys = std::env::args().nth(1).and_then(|keys| keys.parse().ok()).unwrap_or(1_000_u64);
    let sandbox = Sandbox::open("writer").await?;
    for n in 0_u64.. {
        // Etcd may be away for a while; that is no reason to stop.
        let written = sandbox.put((n % keys).to_string(), n.to_string()).await;
        if n == 0 {
            written?;
            println!("writing {}", sandbox.prefix());
        }
    }
    Ok(())
}
