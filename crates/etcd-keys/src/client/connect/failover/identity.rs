//! Which cluster answers on a new connection, asked before any request goes over it.

use etcd_client::{BalancedChannelBuilder, Client, GetOptions};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tonic::codegen::http::Uri;
use tonic::transport::channel::Change;
use tonic::transport::{Channel, Endpoint};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt as _};

type Changes = Change<Uri, Endpoint>;

/// The cluster that answers on a connection; `None`: it does not say, as a cluster that wants a user first.
pub(super) async fn cluster_id(endpoint: &Endpoint, channel: Channel) -> Option<u64> {
    let (sender, _changes): (Sender<Changes>, Receiver<Changes>) = mpsc::channel(1);
    let client = Client::connect_with_balanced_channel([endpoint.uri().to_string()], None, Fixed { channel, sender });
    let options = GetOptions::new().with_count_only().with_serializable();
    let answer = client.await.ok()?.get("\0", Some(options)).await.ok()?;
    Some(answer.header()?.cluster_id())
}

/// One channel, whatever the endpoints are.
struct Fixed {
    channel: Channel,
    sender: Sender<Changes>,
}

impl BalancedChannelBuilder for Fixed {
    type Error = etcd_client::Error;

    fn balanced_channel(self, _: usize) -> Result<(etcd_client::Channel, Sender<Changes>), Self::Error> {
        let channel = self.channel.map_err(BoxError::from);
        Ok((etcd_client::Channel::Custom(BoxCloneSyncService::new(channel)), self.sender))
    }
}
