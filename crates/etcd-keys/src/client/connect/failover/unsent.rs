//! A request that can be had back from a connection that broke before it sent any of it. Etcd does nothing
//! for a request whose message it has not seen, so that another connection may carry it: also a write.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::Request;
use tonic::codegen::http::request::Parts;

/// What is kept of a request while a connection has it.
pub(super) struct Unsent {
    parts: Parts,
    message: Message,
}

impl Unsent {
    /// The request as it is, to be sent, and what is kept of it.
    pub(super) fn keep(request: Request<Body>) -> (Self, Request<Body>) {
        let (parts, body) = request.into_parts();
        let message = Message { shared: Arc::new(Mutex::new(Shared { body, begun: false })) };
        let request = Request::from_parts(parts.clone(), Body::new(message.clone()));
        (Self { parts, message }, request)
    }

    /// The request, if nobody has asked for a byte of its message.
    pub(super) fn take_back(self) -> Option<Request<Body>> {
        let mut shared = self.message.lock();
        if shared.begun {
            return None;
        }
        // Whoever still has the other half gets nothing.
        shared.begun = true;
        Some(Request::from_parts(self.parts, std::mem::take(&mut shared.body)))
    }
}

/// The message of a request, on both sides.
#[derive(Clone)]
struct Message {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    body: Body,
    begun: bool,
}

impl Message {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl http_body::Body for Message {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut shared = self.lock();
        shared.begun = true;
        Pin::new(&mut shared.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    fn poll(request: Request<Body>) -> bool {
        let mut body = request.into_body();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(Some(Ok(_))))
    }

    fn request() -> Request<Body> {
        Request::new(Body::new(Once(Some(Bytes::from_static(b"message")))))
    }

    struct Once(Option<Bytes>);

    impl http_body::Body for Once {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    #[test]
    fn what_was_not_begun_is_had_back_whole_and_what_was_is_not() {
        let (kept, request) = Unsent::keep(request());
        drop(request);
        assert!(poll(kept.take_back().unwrap()), "the message is still there");

        let (kept, request) = Unsent::keep(self::request());
        assert!(poll(request));
        assert!(kept.take_back().is_none());
    }

    #[test]
    fn it_is_never_in_two_hands() {
        let (kept, request) = Unsent::keep(request());
        let again = kept.take_back().unwrap();
        assert!(!poll(request), "a connection that wakes up late sends nothing");
        assert!(poll(again));
    }
}
