//! The peer of the benchmarks: the same measurements on the real iroh. Prints one JSON object for each case.
use anyhow::{bail, ensure, Result};
use bytes::Bytes;
use iroh::{endpoint::Connection, Endpoint, EndpointAddr};
use iroh_tickets::{endpoint::EndpointTicket, Ticket};
use std::time::Instant;

const SINK: &[u8] = b"kith-bench/sink";
const SOURCE: &[u8] = b"kith-bench/source";
const ECHO: &[u8] = b"kith-bench/echo";
const BLOCK: usize = 1 << 18;

pub async fn serve() -> Result<()> {
    let endpoint = crate::bind(None, [SINK, SOURCE, ECHO].iter().map(|a| a.to_vec()).collect()).await?;
    println!("READY {}", EndpointTicket::new(crate::loopback_addr(&endpoint)).encode_string());
    let accepting = async {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let conn = incoming.accept()?.await?;
                serve_conn(conn).await
            });
        }
    };
    tokio::select! {
        _ = accepting => {}
        _ = crate::wait_for_stdin_end() => {}
    }
    Ok(())
}

async fn serve_conn(conn: Connection) -> Result<()> {
    let alpn = conn.alpn().to_vec();
    loop {
        let (mut send, mut recv) = conn.accept_bi().await?;
        let alpn = alpn.clone();
        tokio::spawn(async move {
            if alpn == SINK {
                let mut total = 0u64;
                while let Some(chunk) = recv.read_chunk(BLOCK).await? {
                    total += chunk.len() as u64;
                }
                send.write_all(&total.to_be_bytes()).await?;
            } else if alpn == SOURCE {
                let mut wanted = [0u8; 8];
                recv.read_exact(&mut wanted).await?;
                let mut left = u64::from_be_bytes(wanted);
                let block = Bytes::from(vec![7u8; BLOCK]);
                while left > 0 {
                    let n = left.min(BLOCK as u64) as usize;
                    send.write_chunk(block.slice(..n)).await?;
                    left -= n as u64;
                }
            } else {
                tokio::io::copy(&mut recv, &mut send).await?;
            }
            send.finish()?;
            anyhow::Ok(())
        });
    }
}

pub async fn dial(ticket: &str, case: &str, args: &[&str]) -> Result<()> {
    let addr = crate::parse_ticket(ticket)?;
    let endpoint = crate::bind(None, vec![]).await?;
    let number = |i: usize, otherwise: u64| args.get(i).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    match case {
        "up" => up(&endpoint, addr, number(0, 1 << 30), number(1, 1)).await?,
        "down" => down(&endpoint, addr, number(0, 1 << 30), number(1, 1)).await?,
        "connects" => connects(&endpoint, addr, number(0, 500), number(1, 1)).await?,
        "latency" => latency(&endpoint, addr, number(0, 5000)).await?,
        "idle" => return idle(&endpoint, addr, number(0, 2000)).await,
        "blake3" => blake3_rate(number(0, 1 << 30)),
        _ => bail!("no such case: {case}"),
    }
    endpoint.close().await;
    Ok(())
}

async fn up_one(conn: Connection, size: u64) -> Result<()> {
    let (mut send, mut recv) = conn.open_bi().await?;
    let block = Bytes::from(vec![7u8; BLOCK]);
    let mut left = size;
    while left > 0 {
        let n = left.min(BLOCK as u64) as usize;
        send.write_chunk(block.slice(..n)).await?;
        left -= n as u64;
    }
    send.finish()?;
    let mut count = [0u8; 8];
    recv.read_exact(&mut count).await?;
    ensure!(u64::from_be_bytes(count) == size);
    Ok(())
}

async fn down_one(conn: Connection, size: u64) -> Result<()> {
    let (mut send, mut recv) = conn.open_bi().await?;
    send.write_all(&size.to_be_bytes()).await?;
    send.finish()?;
    let mut got = 0u64;
    while let Some(chunk) = recv.read_chunk(BLOCK).await? {
        got += chunk.len() as u64;
    }
    ensure!(got == size);
    Ok(())
}

async fn up(endpoint: &Endpoint, addr: EndpointAddr, size: u64, streams: u64) -> Result<()> {
    let conn = endpoint.connect(addr, SINK).await?;
    let started = Instant::now();
    let tasks: Vec<_> = (0..streams).map(|_| tokio::spawn(up_one(conn.clone(), size / streams))).collect();
    for task in tasks {
        task.await??;
    }
    println!(r#"{{"bytes_per_second":{:.0}}}"#, size as f64 / started.elapsed().as_secs_f64());
    Ok(())
}

async fn down(endpoint: &Endpoint, addr: EndpointAddr, size: u64, streams: u64) -> Result<()> {
    let conn = endpoint.connect(addr, SOURCE).await?;
    let started = Instant::now();
    let tasks: Vec<_> = (0..streams).map(|_| tokio::spawn(down_one(conn.clone(), size / streams))).collect();
    for task in tasks {
        task.await??;
    }
    println!(r#"{{"bytes_per_second":{:.0}}}"#, size as f64 / started.elapsed().as_secs_f64());
    Ok(())
}

async fn connect_once(endpoint: Endpoint, addr: EndpointAddr) -> Result<()> {
    let conn = endpoint.connect(addr, ECHO).await?;
    let (mut send, mut recv) = conn.open_bi().await?;
    send.write_all(b"x").await?;
    send.finish()?;
    ensure!(recv.read_to_end(10).await? == b"x");
    conn.close(0u32.into(), b"");
    Ok(())
}

/// `count` times connect, echo a byte, close; `parallel` at a time. A new key for each is not needed: tickets are not used.
async fn connects(_: &Endpoint, addr: EndpointAddr, count: u64, parallel: u64) -> Result<()> {
    let endpoint = iroh::Endpoint::builder(iroh::endpoint::presets::Minimal)
        .relay_mode(iroh::RelayMode::Disabled)
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")?
        .max_tls_tickets(0)
        .bind()
        .await?;
    let started = Instant::now();
    let workers: Vec<_> = (0..parallel)
        .map(|_| {
            let (endpoint, addr) = (endpoint.clone(), addr.clone());
            tokio::spawn(async move {
                for _ in 0..count / parallel {
                    connect_once(endpoint.clone(), addr.clone()).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    let done = count / parallel * parallel;
    println!(r#"{{"connects_per_second":{:.1}}}"#, done as f64 / started.elapsed().as_secs_f64());
    Ok(())
}

async fn latency(endpoint: &Endpoint, addr: EndpointAddr, rounds: u64) -> Result<()> {
    let conn = endpoint.connect(addr, ECHO).await?;
    let (mut send, mut recv) = conn.open_bi().await?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let started = Instant::now();
        send.write_all(&[1u8; 32]).await?;
        let mut back = [0u8; 32];
        recv.read_exact(&mut back).await?;
        times.push(started.elapsed().as_nanos() as u64);
    }
    times.sort();
    println!(r#"{{"p50_ns":{},"p99_ns":{}}}"#, times[times.len() / 2], times[times.len() * 99 / 100]);
    Ok(())
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Opens `count` connections, says how much the process grew, holds them until standard input ends.
async fn idle(endpoint: &Endpoint, addr: EndpointAddr, count: u64) -> Result<()> {
    let before = resident_bytes();
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(endpoint.connect(addr.clone(), ECHO).await?);
    }
    println!(r#"{{"bytes_per_connection":{}}}"#, (resident_bytes() - before) / count);
    crate::wait_for_stdin_end().await;
    Ok(())
}

fn blake3_rate(size: u64) {
    let block = vec![7u8; 1 << 20];
    let started = Instant::now();
    let mut hasher = blake3::Hasher::new();
    for _ in 0..size >> 20 {
        hasher.update(&block);
    }
    std::hint::black_box(hasher.finalize());
    println!(r#"{{"bytes_per_second":{:.0}}}"#, size as f64 / started.elapsed().as_secs_f64());
}
