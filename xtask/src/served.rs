//! `faithful serve` as its users meet it: a process of its own, asked over loopback.

use crate::shell::highest_memory;
use anyhow::{Context, Result};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server that ends with its value.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `program` at a free port with more `arguments`.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--json"]).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start faithful")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("it has no output")?).read_line(&mut line)?;
        let url = serde_json::from_str::<serde_json::Value>(&line)?;
        let url = url["url"].as_str().context("it says no address")?;
        let address = url.trim_start_matches("http://").trim_end_matches('/').parse()?;
        Ok(Self { child, address })
    }

    /// The most memory it ever had, in MiB.
    pub(crate) fn peak(&self) -> f64 {
        highest_memory(self.child.id()).unwrap_or(f64::NAN)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection from an address of this machine; with little room for what comes back.
pub(crate) fn connect(server: SocketAddr, from: Ipv4Addr, little: bool) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if little {
        socket.set_recv_buffer_size(2048)?;
    }
    socket.bind(&SockAddr::from(SocketAddrV4::new(from, 0)))?;
    socket.connect_timeout(&SockAddr::from(server), Duration::from_secs(5))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// The number of the job that an answer tells of.
pub(crate) fn id_of(answer: &str) -> Option<&str> {
    answer.split("\"id\":\"").nth(1)?.get(..32)
}

/// What the server says in the end to a photo that is sent with `query`, such as `method=grad-cam`, and watched: its events.
pub(crate) fn watched(server: SocketAddr, query: &str, photo: &[u8]) -> Result<(String, String)> {
    let length = photo.len();
    let head = format!("POST /jobs?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    let answer = ask(server, &head, photo)?;
    let id = id_of(&answer).with_context(|| format!("the photo was refused: {answer}"))?.to_owned();
    let events = get(server, &format!("/jobs/{id}/events"))?;
    Ok((id, events))
}

/// Whether a photo is explained: sent with `query`, watched and fetched.
pub(crate) fn explained(server: SocketAddr, query: &str, photo: &[u8]) -> Result<bool> {
    let (id, events) = watched(server, query, photo)?;
    Ok(events.contains("\"state\":\"done\"") && get(server, &format!("/jobs/{id}"))?.starts_with("HTTP/1.1 200"))
}

fn get(server: SocketAddr, path: &str) -> Result<String> {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"), b"")
}

fn ask(server: SocketAddr, head: &str, body: &[u8]) -> Result<String> {
    let mut stream = connect(server, Ipv4Addr::LOCALHOST, false)?;
    stream.set_read_timeout(Some(Duration::from_mins(10)))?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
