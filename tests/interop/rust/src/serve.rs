//! The serving side of the transport cases.
use anyhow::{bail, Result};
use iroh::{
    endpoint::{Connection, ConnectionError, Incoming},
    SecretKey,
};
use iroh_tickets::{endpoint::EndpointTicket, Ticket};
use std::{str::FromStr, sync::Arc};

pub async fn run(args: &[&str]) -> Result<()> {
    let mut mode = "accept".to_string();
    let mut secret = None;
    let mut addresses = vec![];
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match (*word, words.next()) {
            ("--mode", Some(value)) => mode = value.to_string(),
            ("--secret", Some(value)) => secret = Some(SecretKey::from_str(value)?),
            ("--bind", Some(value)) => addresses.push(*value),
            _ => bail!("unknown option {word}"),
        }
    }
    let alpns = [crate::ECHO, crate::SINK, crate::SOURCE, crate::CLOSE];
    let endpoint = crate::bind_all(secret, alpns.iter().map(|a| a.to_vec()).collect(), &addresses).await?;
    crate::relay::options().wait_online(&endpoint).await;
    let ticket = EndpointTicket::new(crate::loopback_addr(&endpoint));
    println!("READY {}", ticket.encode_string());
    let mode = Arc::new(mode);
    let accepting = {
        let endpoint = endpoint.clone();
        async move {
            while let Some(incoming) = endpoint.accept().await {
                let mode = mode.clone();
                tokio::spawn(async move {
                    if let Err(error) = decide(incoming, &mode).await {
                        eprintln!("incoming: {error:#}");
                    }
                });
            }
        }
    };
    tokio::select! {
        _ = accepting => {}
        _ = crate::wait_for_stdin_end() => {}
    }
    endpoint.close().await;
    Ok(())
}

async fn decide(incoming: Incoming, mode: &str) -> Result<()> {
    match mode {
        "refuse" => incoming.refuse(),
        "ignore" => incoming.ignore(),
        "retry" if !incoming.remote_addr_validated() => {
            if let Err(error) = incoming.retry() {
                bail!("retry: {error}");
            }
        }
        _ => {
            // Into 0-RTT: streams of early data are served before the handshake ends, as a real service would.
            let early = incoming.accept()?.into_0rtt();
            let conn = early.handshake_completed().await?;
            serve(conn).await?;
        }
    }
    Ok(())
}

async fn serve(conn: Connection) -> Result<()> {
    let alpn = conn.alpn().to_vec();
    crate::relay::report_paths(&conn);
    let result = tokio::select! {
        result = streams_bi(&conn, &alpn) => result,
        result = streams_uni(&conn) => result,
        result = datagrams(&conn) => result,
    };
    drop(result);
    let error = conn.closed().await;
    println!("CLOSED {}", describe(&error));
    Ok(())
}

async fn streams_bi(conn: &Connection, alpn: &[u8]) -> Result<()> {
    loop {
        let (mut send, mut recv) = conn.accept_bi().await?;
        let (conn, alpn) = (conn.clone(), alpn.to_vec());
        tokio::spawn(async move {
            let result: Result<()> = async {
                if alpn == crate::SINK {
                    let mut total = 0u64;
                    let mut buffer = vec![0u8; 1 << 16];
                    while let Some(n) = recv.read(&mut buffer).await? {
                        total += n as u64;
                    }
                    send.write_all(&total.to_be_bytes()).await?;
                    send.finish()?;
                } else if alpn == crate::SOURCE {
                    let mut wanted = [0u8; 8];
                    recv.read_exact(&mut wanted).await?;
                    let wanted = u64::from_be_bytes(wanted);
                    let mut at = 0;
                    while at < wanted {
                        let size = (wanted - at).min(251 * 256) as usize;
                        send.write_all(&crate::pattern(at, size)).await?;
                        at += size as u64;
                    }
                    send.finish()?;
                } else if alpn == crate::CLOSE {
                    recv.read_to_end(1 << 20).await?;
                    conn.close(42u32.into(), b"server done");
                } else {
                    tokio::io::copy(&mut recv, &mut send).await?;
                    send.finish()?;
                }
                Ok(())
            }
            .await;
            drop(result);
        });
    }
}

async fn streams_uni(conn: &Connection) -> Result<()> {
    loop {
        let mut recv = conn.accept_uni().await?;
        let conn = conn.clone();
        tokio::spawn(async move {
            let bytes = recv.read_to_end(1 << 26).await?;
            let mut send = conn.open_uni().await?;
            send.write_all(&bytes).await?;
            send.finish()?;
            anyhow::Ok(())
        });
    }
}

async fn datagrams(conn: &Connection) -> Result<()> {
    loop {
        let bytes = conn.read_datagram().await?;
        conn.send_datagram(bytes)?;
    }
}

/// How a connection ended, as one JSON object.
pub fn describe(error: &ConnectionError) -> String {
    let (kind, code, reason) = match error {
        ConnectionError::ApplicationClosed(close) => (
            "application",
            u64::from(close.error_code),
            String::from_utf8_lossy(&close.reason).into_owned(),
        ),
        ConnectionError::ConnectionClosed(close) => (
            "transport",
            u64::from(close.error_code),
            String::from_utf8_lossy(&close.reason).into_owned(),
        ),
        ConnectionError::TransportError(error) => ("local-transport", u64::from(error.code), error.to_string()),
        ConnectionError::TimedOut => ("idle", 0, String::new()),
        ConnectionError::Reset => ("reset", 0, String::new()),
        ConnectionError::LocallyClosed => ("local", 0, String::new()),
        other => ("other", 0, other.to_string()),
    };
    format!(r#"{{"kind":"{kind}","code":{code},"reason":{reason:?}}}"#)
}
