//! Listening sockets: one process alone, or an old and a new one side by side.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};

pub use crate::config::tls::load as tls;

const BACKLOG: i32 = 4096;

/// Binds `address`, without accepting anything yet. With `reuse_port` another process that did the same may be there.
pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Connections may come.
pub fn open(socket: Socket, reuse_port: bool) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    if reuse_port {
        forget_handover(&socket);
    }
    Ok(socket.into())
}

/// Which of the other processes on this port goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Successor {
    /// The one that was there before us: a new version that is taken back.
    Older,
    /// The one that came after us: a deploy.
    Newer,
}

/// A hold on a listening socket, to hand its port over while the server still accepts.
pub struct Handover(OwnedFd);

impl Handover {
    pub fn of(listener: &TcpListener) -> io::Result<Self> {
        Ok(Self(listener.try_clone()?.into()))
    }

    /// From now on new connections go to the other process on this port, if there is one. Closing a socket drops the
    /// connections that wait in its backlog, so they must stop coming before we close.
    pub fn begin(&self, to: Successor) -> io::Result<()> {
        // A program of one instruction, which the kernel asks for the place of the socket in the group; they stand in
        // the order in which they were bound. If there is no such place the kernel chooses as it did before.
        let place = match to {
            Successor::Older => 0,
            Successor::Newer => 1,
        };
        let mut program =
            [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: place }];
        let filter = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
        // SAFETY: the descriptor is open, and the kernel copies the program before the call returns.
        let failed = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_REUSEPORT_CBPF,
                (&raw const filter).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Takes away what an earlier process on this port left to guide its last connections.
fn forget_handover(socket: &Socket) {
    let none: libc::c_int = 0;
    // SAFETY: the descriptor is open and the option takes an int that it ignores. It fails where nothing was left.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DETACH_REUSEPORT_BPF,
            (&raw const none).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}
