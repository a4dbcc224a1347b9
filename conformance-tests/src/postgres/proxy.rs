//! A wire between clients and a server that breaks where it is told to.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::server::Server;
use crate::ground::Port;

/// Where the wire breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server gets so many more bytes of what clients send.
    Request(usize),
    /// Clients get so many more bytes of what the server answers. What it had got by then, it does.
    Reply(usize),
}

/// Between clients and a server. It lets everything through until it is told where to
/// [break](Self::cut).
///
/// Both sides see the end of the connection, in the middle of whatever it interrupts. Connections that are
/// made afterwards go through again. Dropping this ends all of them.
#[derive(Debug)]
pub struct FaultProxy {
    port: Port,
    url: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    cut: Mutex<Option<Cut>>,
    streams: Mutex<Vec<TcpStream>>,
    ended: Mutex<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FaultProxy {
    /// In front of this server.
    ///
    /// # Panics
    /// When there is no port for it.
    #[must_use]
    pub fn to(server: &Server) -> Self {
        let port = Port::free();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number()));
        let listener = listener.expect("the port was free just now");
        let shared = Arc::new(Shared::default());
        let (server_addr, url) = (server.addr(), server.url_at(port.number()));
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if *lock(&accepting.ended) {
                    return;
                }
                connect(&accepting, client, server_addr);
            }
        });
        Self { port, url, shared }
    }

    /// As [`Server::url`], through this.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The connection on which the byte after these comes by is cut instead, once. Counted from now on, over
    /// all connections.
    pub fn cut(&self, cut: Cut) {
        *lock(&self.shared.cut) = Some(cut);
    }

    /// Lets everything through again. Whether the cut that it was told of was still to come.
    pub fn mend(&self) -> bool {
        lock(&self.shared.cut).take().is_some()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        *lock(&self.shared.ended) = true;
        // The thread that accepts looks when somebody comes.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port.number()));
        for stream in lock(&self.shared.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream, server: SocketAddr) {
    // A server that is away is a connection that ends.
    let Ok(server) = TcpStream::connect(server) else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        lock(&shared.streams).extend(stream.try_clone());
    }
    let both = (client.try_clone(), server.try_clone());
    let (Ok(to_client), Ok(to_server)) = both else { return };
    let (requests, replies) = (Arc::clone(shared), Arc::clone(shared));
    std::thread::spawn(move || {
        relay(client, to_server, |length| {
            requests
                .allowed(length, |cut| if let Cut::Request(left) = cut { Some(left) } else { None })
        });
    });
    std::thread::spawn(move || {
        relay(server, to_client, |length| {
            replies
                .allowed(length, |cut| if let Cut::Reply(left) = cut { Some(left) } else { None })
        });
    });
}

impl Shared {
    /// How many of these bytes go through, if the wire breaks after them.
    fn allowed(
        &self,
        length: usize,
        left: impl Fn(&mut Cut) -> Option<&mut usize>,
    ) -> Option<usize> {
        let mut cut = lock(&self.cut);
        let left = left(cut.as_mut()?)?;
        if length <= *left {
            *left -= length;
            return None;
        }
        let allowed = *left;
        *cut = None;
        Some(allowed)
    }
}

/// Takes what comes from one side to the other until one of them ends, or the wire breaks.
fn relay(mut from: TcpStream, mut to: TcpStream, breaks_after: impl Fn(usize) -> Option<usize>) {
    let mut bytes = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let broken = breaks_after(length);
        let Some(through) = bytes.get(..broken.unwrap_or(length)) else { break };
        if to.write_all(through).is_err() || broken.is_some() {
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
