//! The dialling side of the transport cases.
use anyhow::{bail, ensure, Context, Result};
use iroh::{
    endpoint::{ConnectionError, ZeroRttStatus},
    endpoint::{Connection, RecvStream, SendStream, VarInt},
    Endpoint, EndpointAddr, SecretKey,
};
use std::time::{Duration, Instant};

pub async fn run(ticket: &str, case: &str, args: &[&str]) -> Result<()> {
    let addr = crate::parse_ticket(ticket)?;
    let endpoint = crate::bind(None, vec![]).await?;
    crate::relay::options().wait_online(&endpoint).await;
    let number = |i: usize, otherwise: u64| args.get(i).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let result = match case {
        "echo-bi" => echo_bi(&endpoint, addr, number(0, 5) as usize).await,
        "echo-uni" => echo_uni(&endpoint, addr, number(0, 5) as usize).await,
        "up" => up(&endpoint, addr, number(0, 1)).await,
        "down" => down(&endpoint, addr, number(0, 1)).await,
        "streams" => streams(&endpoint, addr, number(0, 1000)).await,
        "datagrams" => datagrams(&endpoint, addr, number(0, 100)).await,
        "close" => close(&endpoint, addr, number(0, 7), args.get(1).unwrap_or(&"bye")).await,
        "closed-by-peer" => closed_by_peer(&endpoint, addr).await,
        "alpn-mismatch" => fails_with(&endpoint, addr, b"kith-test/none", "120").await,
        "wrong-key" => wrong_key(&endpoint, addr).await,
        "refused" => fails_with(&endpoint, addr, crate::ECHO, "refused").await,
        "resume" => resume(&endpoint, addr).await,
        "early" => early(&endpoint, addr).await,
        "key-update" => key_update(&endpoint, addr).await,
        "idle" => idle(&endpoint, addr, number(0, 60)).await,
        "steady" => steady(&endpoint, addr, number(0, 3000)).await,
        "connects" => connects(&endpoint, addr, number(0, 100)).await,
        "datagram-max" => datagram_max(&endpoint, addr).await,
        _ => bail!("no such case: {case}"),
    };
    endpoint.close().await;
    result
}

async fn connect(endpoint: &Endpoint, addr: EndpointAddr, alpn: &[u8]) -> Result<Connection> {
    let conn = tokio::time::timeout(Duration::from_secs(20), endpoint.connect(addr, alpn)).await??;
    crate::relay::report_paths(&conn);
    Ok(conn)
}

async fn echo(send: &mut SendStream, recv: &mut RecvStream, size: usize) -> Result<()> {
    let bytes = crate::pattern(0, size);
    let (sent, back) = tokio::join!(
        async {
            send.write_all(&bytes).await?;
            send.finish()?;
            anyhow::Ok(())
        },
        recv.read_to_end(size + 1)
    );
    sent?;
    ensure!(back? == bytes, "the echo differs");
    Ok(())
}

async fn echo_once(conn: &Connection, size: usize) -> Result<()> {
    let (mut send, mut recv) = conn.open_bi().await?;
    echo(&mut send, &mut recv, size).await
}

async fn echo_bi(endpoint: &Endpoint, addr: EndpointAddr, size: usize) -> Result<()> {
    let conn = connect(endpoint, addr, crate::ECHO).await?;
    echo_once(&conn, size).await?;
    conn.close(0u32.into(), b"");
    Ok(())
}

async fn echo_uni(endpoint: &Endpoint, addr: EndpointAddr, size: usize) -> Result<()> {
    let conn = connect(endpoint, addr, crate::ECHO).await?;
    let bytes = crate::pattern(0, size);
    let mut send = conn.open_uni().await?;
    send.write_all(&bytes).await?;
    send.finish()?;
    let mut recv = conn.accept_uni().await?;
    ensure!(recv.read_to_end(size + 1).await? == bytes, "the echo differs");
    conn.close(0u32.into(), b"");
    Ok(())
}

async fn up(endpoint: &Endpoint, addr: EndpointAddr, size: u64) -> Result<()> {
    let conn = connect(endpoint, addr, crate::SINK).await?;
    let (mut send, mut recv) = conn.open_bi().await?;
    let started = Instant::now();
    crate::send_pattern(&mut send, size).await?;
    let mut count = [0u8; 8];
    recv.read_exact(&mut count).await?;
    println!("RATE {:.0}", size as f64 / started.elapsed().as_secs_f64());
    ensure!(u64::from_be_bytes(count) == size, "the server counted {}", u64::from_be_bytes(count));
    conn.close(0u32.into(), b"");
    Ok(())
}

async fn down(endpoint: &Endpoint, addr: EndpointAddr, size: u64) -> Result<()> {
    let conn = connect(endpoint, addr, crate::SOURCE).await?;
    let (mut send, mut recv) = conn.open_bi().await?;
    send.write_all(&size.to_be_bytes()).await?;
    send.finish()?;
    let started = Instant::now();
    let mut at = 0u64;
    let mut buffer = vec![0u8; 1 << 17];
    while let Some(n) = recv.read(&mut buffer).await? {
        for (i, byte) in buffer[..n].iter().enumerate() {
            ensure!(*byte == ((at + i as u64) % 251) as u8, "wrong byte at {}", at + i as u64);
        }
        at += n as u64;
    }
    println!("RATE {:.0}", size as f64 / started.elapsed().as_secs_f64());
    ensure!(at == size, "{at} bytes came");
    conn.close(0u32.into(), b"");
    Ok(())
}

async fn streams(endpoint: &Endpoint, addr: EndpointAddr, count: u64) -> Result<()> {
    let conn = connect(endpoint, addr, crate::ECHO).await?;
    let mut tasks = Vec::new();
    for i in 0..count {
        let conn = conn.clone();
        tasks.push(tokio::spawn(async move { echo_once(&conn, 1 + (i % 3000) as usize).await }));
    }
    for task in tasks {
        task.await??;
    }
    conn.close(0u32.into(), b"");
    Ok(())
}

async fn datagrams(endpoint: &Endpoint, addr: EndpointAddr, count: u64) -> Result<()> {
    let conn = connect(endpoint, addr, crate::ECHO).await?;
    let mut back = 0;
    for i in 0..count {
        let size = 8 + (i as usize * 37) % 1000;
        conn.send_datagram(crate::pattern(i, size).into())?;
        match tokio::time::timeout(Duration::from_secs(2), conn.read_datagram()).await {
            Ok(bytes) => {
                ensure!(bytes?.len() >= 8, "a datagram was cut");
                back += 1;
            }
            Err(_) => continue,
        }
    }
    ensure!(back * 10 >= count * 9, "only {back} of {count} came back");
    conn.close(0u32.into(), b"");
    Ok(())
}

async fn close(endpoint: &Endpoint, addr: EndpointAddr, code: u64, reason: &str) -> Result<()> {
    let conn = connect(endpoint, addr, crate::ECHO).await?;
    echo_once(&conn, 100).await?;
    conn.close(VarInt::from_u64(code)?, reason.as_bytes());
    Ok(())
}

async fn closed_by_peer(endpoint: &Endpoint, addr: EndpointAddr) -> Result<()> {
    let conn = connect(endpoint, addr, crate::CLOSE).await?;
    let (mut send, _recv) = conn.open_bi().await?;
    send.write_all(b"please close").await?;
    send.finish()?;
    match conn.closed().await {
        ConnectionError::ApplicationClosed(close) => {
            ensure!(u64::from(close.error_code) == 42, "code {}", close.error_code);
            ensure!(&close.reason[..] == b"server done", "reason {:?}", close.reason);
            Ok(())
        }
        other => bail!("closed otherwise: {other}"),
    }
}

async fn fails_with(endpoint: &Endpoint, addr: EndpointAddr, alpn: &[u8], word: &str) -> Result<()> {
    match connect(endpoint, addr, alpn).await {
        Ok(_) => bail!("connected"),
        Err(error) => {
            let text = format!("{error:#} {error:?}");
            ensure!(text.contains(word), "failed otherwise: {text}");
            Ok(())
        }
    }
}

async fn wrong_key(endpoint: &Endpoint, addr: EndpointAddr) -> Result<()> {
    let mut other = EndpointAddr::new(SecretKey::generate().public());
    for ip in addr.ip_addrs() {
        other = other.with_ip_addr(*ip);
    }
    fails_with(endpoint, other, crate::ECHO, "UnknownIssuer").await
}

async fn resume(endpoint: &Endpoint, addr: EndpointAddr) -> Result<()> {
    for _ in 0..2 {
        let conn = connect(endpoint, addr.clone(), crate::ECHO).await?;
        echo_once(&conn, 100).await?;
        conn.close(0u32.into(), b"");
    }
    Ok(())
}

async fn early(endpoint: &Endpoint, addr: EndpointAddr) -> Result<()> {
    let conn = connect(endpoint, addr.clone(), crate::ECHO).await?;
    echo_once(&conn, 100).await?;
    conn.close(0u32.into(), b"");
    let connecting = endpoint.connect_with_opts(addr, crate::ECHO, Default::default()).await?;
    match connecting.into_0rtt() {
        Ok(early) => {
            let (mut send, mut recv) = early.open_bi().await?;
            let bytes = crate::pattern(0, 500);
            send.write_all(&bytes).await?;
            send.finish()?;
            match early.handshake_completed().await? {
                ZeroRttStatus::Accepted(conn) => {
                    ensure!(recv.read_to_end(1000).await? == bytes, "the echo differs");
                    println!("EARLY accepted");
                    conn.close(0u32.into(), b"");
                }
                ZeroRttStatus::Rejected(conn) => {
                    echo_once(&conn, 500).await?;
                    println!("EARLY rejected");
                    conn.close(0u32.into(), b"");
                }
            }
        }
        Err(connecting) => {
            let conn = connecting.await?;
            echo_once(&conn, 500).await?;
            println!("EARLY impossible");
            conn.close(0u32.into(), b"");
        }
    }
    Ok(())
}

async fn key_update(endpoint: &Endpoint, addr: EndpointAddr) -> Result<()> {
    let conn = connect(endpoint, addr, crate::ECHO).await?;
    echo_once(&conn, 24_000_000).await.context("while echoing")?;
    conn.close(0u32.into(), b"");
    Ok(())
}

async fn idle(endpoint: &Endpoint, addr: EndpointAddr, seconds: u64) -> Result<()> {
    let conn = connect(endpoint, addr, crate::ECHO).await?;
    echo_once(&conn, 100).await?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    echo_once(&conn, 100).await?;
    conn.close(0u32.into(), b"");
    Ok(())
}

/// One small echo after another on one stream for so long; tells how many, and the longest that one took.
async fn steady(endpoint: &Endpoint, addr: EndpointAddr, milliseconds: u64) -> Result<()> {
    let conn = connect(endpoint, addr, crate::ECHO).await?;
    let (mut send, mut recv) = conn.open_bi().await?;
    let started = Instant::now();
    let mut rounds = 0u64;
    let mut longest = Duration::ZERO;
    println!("STEADY begun");
    while started.elapsed() < Duration::from_millis(milliseconds) {
        let sent = crate::pattern(rounds, 32);
        let mut back = [0u8; 32];
        let at = Instant::now();
        send.write_all(&sent).await?;
        recv.read_exact(&mut back).await?;
        ensure!(sent == back, "the echo differs");
        longest = longest.max(at.elapsed());
        rounds += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("STEADY {rounds} {}", longest.as_millis());
    send.finish()?;
    conn.close(0u32.into(), b"");
    Ok(())
}

/// One connection after another, each with an echo.
async fn connects(endpoint: &Endpoint, addr: EndpointAddr, count: u64) -> Result<()> {
    for i in 0..count {
        let conn = connect(endpoint, addr.clone(), crate::ECHO).await.with_context(|| format!("connection {i}"))?;
        echo_once(&conn, 1 + (i as usize * 97) % 5000).await.with_context(|| format!("echo {i}"))?;
        conn.close(0u32.into(), b"");
    }
    println!("CONNECTS {count}");
    Ok(())
}

/// The largest datagram there is comes back; one byte more is refused here.
async fn datagram_max(endpoint: &Endpoint, addr: EndpointAddr) -> Result<()> {
    let conn = connect(endpoint, addr, crate::ECHO).await?;
    // Time for the path's MTU to be found.
    echo_once(&conn, 300_000).await?;
    let size = conn.max_datagram_size().context("no datagrams")?;
    println!("DATAGRAM {size}");
    ensure!(conn.send_datagram(crate::pattern(0, size + 1000).into()).is_err(), "an oversize datagram was taken");
    for _ in 0..5 {
        conn.send_datagram(crate::pattern(7, size).into())?;
        if let Ok(back) = tokio::time::timeout(Duration::from_secs(2), conn.read_datagram()).await {
            ensure!(back? == crate::pattern(7, size), "the datagram differs");
            conn.close(0u32.into(), b"");
            return Ok(());
        }
    }
    bail!("the largest datagram does not come back")
}
