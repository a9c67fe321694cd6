//! An agent on the real iroh and iroh-blobs, driven by the interop tests. Its command line is described in ../README.md.
mod bench;
mod blobs;
mod dht;
mod dial;
mod lookup;
mod paths;
mod relay;
mod serve;

use anyhow::{bail, Result};
use iroh::{Endpoint, EndpointAddr, EndpointId, SecretKey};
use iroh_tickets::{endpoint::EndpointTicket, Ticket};

pub const ECHO: &[u8] = b"kith-test/echo";
pub const SINK: &[u8] = b"kith-test/sink";
pub const SOURCE: &[u8] = b"kith-test/source";
pub const CLOSE: &[u8] = b"kith-test/close";

/// An endpoint on one loopback port, or on all addresses if it is to be found on the local network; lookups and relays of the options only.
pub async fn bind(secret: Option<SecretKey>, alpns: Vec<Vec<u8>>) -> Result<Endpoint> {
    bind_all(secret, alpns, &[]).await
}

/// The same on these addresses, if there are any.
pub async fn bind_all(secret: Option<SecretKey>, alpns: Vec<Vec<u8>>, addresses: &[&str]) -> Result<Endpoint> {
    let options = relay::options();
    let mut builder = options.builder()?.alpns(alpns);
    let usual: &[&str] = if options.is_local() { &["0.0.0.0:0", "[::]:0"] } else { &["127.0.0.1:0"] };
    let addresses = if addresses.is_empty() { usual } else { addresses };
    if options.has_sockets() {
        for address in addresses {
            builder = builder.bind_addr(*address)?;
        }
    }
    if let Some(secret) = secret {
        builder = builder.secret_key(secret);
    }
    let endpoint = builder.bind().await?;
    options.report(&endpoint);
    Ok(endpoint)
}

/// The address with the bound sockets only, loopback, whatever interfaces there are; and the relays of the options.
pub fn loopback_addr(endpoint: &Endpoint) -> EndpointAddr {
    let mut addr = relay::options().full_addr(EndpointAddr::new(endpoint.id()));
    for socket in endpoint.bound_sockets() {
        addr = addr.with_ip_addr(socket);
    }
    addr
}

/// A ticket, or a bare id for an address lookup.
pub fn parse_ticket(text: &str) -> Result<EndpointAddr> {
    if let Ok(id) = text.parse::<EndpointId>() {
        return Ok(EndpointAddr::new(id));
    }
    let ticket = <EndpointTicket as Ticket>::decode_string(text)?;
    Ok(ticket.endpoint_addr().clone())
}

/// Decodes a ticket and prints it encoded again: what this peer would have written.
fn ticket(text: &str) -> Result<()> {
    if text.starts_with("blob") {
        println!("{}", text.parse::<iroh_blobs::ticket::BlobTicket>()?);
    } else {
        println!("{}", EndpointTicket::new(parse_ticket(text)?).encode_string());
    }
    Ok(())
}

pub fn pattern(offset: u64, size: usize) -> Vec<u8> {
    (0..size as u64).map(|i| ((offset + i) % 251) as u8).collect()
}

/// The pattern on a stream, and its end.
pub async fn send_pattern(send: &mut iroh::endpoint::SendStream, size: u64) -> Result<()> {
    let block = pattern(0, 251 * 4096);
    let mut left = size;
    while left > 0 {
        let n = left.min(block.len() as u64) as usize;
        send.write_all(&block[..n]).await?;
        left -= n as u64;
    }
    send.finish()?;
    Ok(())
}

pub async fn wait_for_stdin_end() {
    use tokio::io::AsyncReadExt;
    let mut input = tokio::io::stdin();
    let mut scratch = [0u8; 256];
    while matches!(input.read(&mut scratch).await, Ok(n) if n > 0) {}
}

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match relay::take_options(&words)? {
        ["serve", rest @ ..] => serve::run(rest).await,
        ["dial", ticket, case, rest @ ..] => dial::run(ticket, case, rest).await,
        ["blobs-serve", paths @ ..] => blobs::serve(paths).await,
        ["blobs-get", ticket, out, rest @ ..] => blobs::get(ticket, out, rest).await,
        ["ticket", text] => ticket(text),
        ["lookup", id] => lookup::run(id).await,
        ["mdns-watch"] => lookup::watch().await,
        ["paths", rest @ ..] => paths::run(rest).await,
        ["dht-node", rest @ ..] => dht::nodes(rest).await,
        ["dht-publish", rest @ ..] => dht::publish(rest).await,
        ["dht-resolve", rest @ ..] => dht::resolve(rest).await,
        ["bench-serve"] => bench::serve().await,
        ["bench-dial", ticket, case, rest @ ..] => bench::dial(ticket, case, rest).await,
        _ => bail!("usage: [--relay URL [--quic PORT] [--token TEXT]]... [--relay-only] [--ca PEM] [--proxy URL] serve | dial TICKET CASE | blobs-serve PATH... | blobs-get TICKET OUT [FIRST..LAST] | ticket TEXT | lookup ID | mdns-watch | paths [OPTION VALUE]... | dht-node | dht-publish | dht-resolve | bench-serve | bench-dial TICKET CASE"),
    }
}
