//! The QUIC engine of iroh alone, with every path in our hands: the peer of the multipath tests. ../README.md has its words.
use anyhow::{anyhow, bail, ensure, Result};
use noq::{
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
    rustls::{
        self,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{ring, verify_tls13_signature_with_raw_key, CryptoProvider},
        pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
        server::danger::{ClientCertVerified, ClientCertVerifier},
        sign::CertifiedKey,
        DigitallySignedStruct, DistinguishedName, SignatureScheme,
    },
    Connection, Endpoint, FourTuple, PathEvent, PathId, PathStatus, RecvStream, TransportConfig,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_stream::StreamExt;

/// Accepts whoever proves an Ed25519 key: the other side checks ours, and that is enough here.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

/// What both traits ask for in the same words: signatures of TLS 1.3 by a raw Ed25519 key, and no others.
macro_rules! raw_ed25519_keys {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Err(rustls::Error::General("TLS 1.3 only".into()))
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let key = SubjectPublicKeyInfoDer::from(cert.as_ref());
            verify_tls13_signature_with_raw_key(message, &key, dss, &self.0.signature_verification_algorithms)
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }
        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    raw_ed25519_keys!();
}

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }
    raw_ed25519_keys!();
}

struct Options {
    bind: SocketAddr,
    paths: u32,
    traversal: u8,
    observed: (bool, bool), // send, receive
    path_idle: Duration,
}

fn options(args: &[&str]) -> Result<Options> {
    let mut options = Options {
        bind: "[::]:0".parse()?,
        paths: 8,
        traversal: 32,
        observed: (false, false),
        path_idle: Duration::from_secs(15),
    };
    for pair in args.chunks(2) {
        match pair {
            ["--bind", value] => options.bind = value.parse()?,
            ["--paths", value] => options.paths = value.parse()?,
            ["--traversal", value] => options.traversal = value.parse()?,
            ["--observed", value] => options.observed = (*value != "receive" && *value != "off", *value != "send" && *value != "off"),
            ["--path-idle", value] => options.path_idle = Duration::from_millis(value.parse()?),
            _ => bail!("unknown option {pair:?}"),
        }
    }
    Ok(options)
}

/// What iroh sets, and what the test wants.
fn transport(options: &Options) -> Result<Arc<TransportConfig>> {
    let mut config = TransportConfig::default();
    config.keep_alive_interval(Some(Duration::from_secs(5)));
    config.default_path_keep_alive_interval(Some(Duration::from_secs(5)));
    config.default_path_max_idle_timeout(Some(options.path_idle));
    config.max_concurrent_multipath_paths(options.paths);
    if options.paths > 0 {
        config.max_remote_nat_traversal_addresses(options.traversal);
    }
    config.send_observed_address_reports(options.observed.0);
    config.receive_observed_address_reports(options.observed.1);
    Ok(Arc::new(config))
}

/// An Ed25519 key as rustls wants it, and the endpoint id that belongs to it.
fn key() -> Result<(Arc<CertifiedKey>, String)> {
    let secret = iroh::SecretKey::generate();
    let mut pkcs8 = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    pkcs8.extend_from_slice(&secret.to_bytes());
    let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8))?;
    let spki = key.public_key().ok_or_else(|| anyhow!("no public key"))?.to_vec();
    let certified = CertifiedKey::new(vec![CertificateDer::from(spki)], key);
    Ok((Arc::new(certified), secret.public().to_string()))
}

fn endpoint(options: &Options) -> Result<(Endpoint, String)> {
    let provider = Arc::new(ring::default_provider());
    let anyone = Arc::new(Anyone(provider.clone()));
    let (key, id) = key()?;
    let versions = [&rustls::version::TLS13];
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)?
        .with_client_cert_verifier(anyone.clone())
        .with_cert_resolver(Arc::new(rustls::server::AlwaysResolvesServerRawPublicKeys::new(key.clone())));
    server.alpn_protocols = vec![crate::ECHO.to_vec()];
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
        .dangerous()
        .with_custom_certificate_verifier(anyone)
        .with_client_cert_resolver(Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(key)));
    client.enable_sni = false;
    client.alpn_protocols = vec![crate::ECHO.to_vec()];
    let mut server = noq::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server)?));
    server.transport_config(transport(options)?);
    let mut client = noq::ClientConfig::new(Arc::new(QuicClientConfig::try_from(client)?));
    client.transport_config(transport(options)?);
    let mut config = noq::EndpointConfig::default();
    config.grease_quic_bit(false);
    let runtime = noq::default_runtime().ok_or_else(|| anyhow!("no runtime"))?;
    let endpoint = Endpoint::new(config, Some(server), std::net::UdpSocket::bind(options.bind)?, runtime)?;
    endpoint.set_default_client_config(client);
    Ok((endpoint, id))
}

/// The connection that commands are about, and what is known of its paths.
#[derive(Clone)]
struct Session {
    conn: Connection,
    paths: Arc<Mutex<BTreeMap<u32, noq::WeakPathHandle>>>,
}

fn number(id: PathId) -> u32 {
    id.to_string().parse().unwrap_or(u32::MAX)
}

/// Makes it the one that commands are about, before it is told.
fn adopt(conn: Connection, current: &Mutex<Option<Session>>) {
    let session = Session { conn, paths: Default::default() };
    *current.lock().unwrap() = Some(session.clone());
    if let Some(path) = session.conn.path(PathId::ZERO) {
        session.paths.lock().unwrap().insert(0, path.weak_handle());
    }
    println!(r#"{{"event":"connected","multipath":{}}}"#, session.conn.is_multipath_enabled());
    tokio::spawn(path_events(session.clone()));
    tokio::spawn(first_observed(session.conn.clone()));
    tokio::spawn(traversal_events(session.clone()));
    tokio::spawn(serve(session.conn.clone()));
    let conn = session.conn.clone();
    tokio::spawn(async move {
        let error = conn.closed().await;
        let code = match &error {
            noq::ConnectionError::ApplicationClosed(close) => u64::from(close.error_code),
            noq::ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
            _ => 0,
        };
        println!(r#"{{"event":"closed","code":{code},"text":{:?}}}"#, error.to_string());
    });
}

/// What was told about the first path may be older than anyone who could hear it as an event.
async fn first_observed(conn: Connection) {
    let Some(mut told) = conn.path(PathId::ZERO).and_then(|path| path.observed_external_addr().ok()) else { return };
    if let Some(address) = told.next().await {
        println!(r#"{{"event":"observed","path":0,"address":"{address}"}}"#);
    }
}

async fn path_events(session: Session) {
    let mut events = session.conn.path_events();
    while let Some(event) = events.next().await {
        match event {
            Ok(PathEvent::Established { id, .. }) => {
                if let Some(path) = session.conn.path(id) {
                    session.paths.lock().unwrap().insert(number(id), path.weak_handle());
                    let remote = path.remote_address().map(|a| a.to_string()).unwrap_or_default();
                    println!(r#"{{"event":"path_validated","path":{id},"remote":"{remote}"}}"#);
                }
            }
            Ok(PathEvent::Abandoned { id, reason, .. }) => {
                println!(r#"{{"event":"path_abandoned","path":{id},"why":{:?}}}"#, format!("{reason:?}"));
            }
            Ok(PathEvent::Discarded { id, .. }) => {
                session.paths.lock().unwrap().remove(&number(id));
                println!(r#"{{"event":"path_discarded","path":{id}}}"#);
            }
            Ok(PathEvent::RemoteStatus { id, status, .. }) => {
                println!(r#"{{"event":"peer_status","path":{id},"backup":{}}}"#, status == PathStatus::Backup);
            }
            Ok(PathEvent::ObservedAddr { id, addr, .. }) => {
                println!(r#"{{"event":"observed","path":{id},"address":"{addr}"}}"#);
            }
            other => println!(r#"{{"event":"other","text":{:?}}}"#, format!("{other:?}")),
        }
    }
}

async fn traversal_events(session: Session) {
    let mut events = session.conn.nat_traversal_updates();
    while let Some(event) = events.next().await {
        println!(r#"{{"event":"candidates_changed","text":{:?}}}"#, format!("{event:?}"));
    }
}

async fn serve(conn: Connection) -> Result<()> {
    loop {
        let (mut send, mut recv) = conn.accept_bi().await?;
        tokio::spawn(async move {
            tokio::io::copy(&mut recv, &mut send).await?;
            send.finish()?;
            anyhow::Ok(())
        });
    }
}

async fn check_pattern(recv: &mut RecvStream, size: u64) -> Result<()> {
    let (mut at, mut buffer) = (0u64, vec![0u8; 1 << 16]);
    while let Some(n) = recv.read(&mut buffer).await? {
        for (i, byte) in buffer[..n].iter().enumerate() {
            ensure!(u64::from(*byte) == (at + i as u64) % 251, "wrong byte at {}", at + i as u64);
        }
        at += n as u64;
    }
    ensure!(at == size, "{at} bytes came");
    Ok(())
}

/// Sends the pattern and wants it back.
async fn echo(conn: Connection, size: u64) -> Result<()> {
    let (mut send, mut recv) = conn.open_bi().await?;
    let (sent, back) = tokio::join!(crate::send_pattern(&mut send, size), check_pattern(&mut recv, size));
    sent?;
    back
}

fn open(session: &Session, args: &[&str]) -> Result<String> {
    let remote: SocketAddr = args.first().ok_or_else(|| anyhow!("no remote"))?.parse()?;
    let local: Option<IpAddr> = args.get(1).filter(|text| **text != "any").map(|text| text.parse()).transpose()?;
    let status = if args.get(2) == Some(&"backup") { PathStatus::Backup } else { PathStatus::Available };
    let opening = session.conn.open_path(FourTuple::new(remote, local), status);
    match opening.path_id() {
        Some(id) => Ok(format!(r#","path":{id}"#)),
        None => bail!("no path id"), // what it was is told by waiting, which is at once then
    }
}

fn with_path<T>(session: &Session, args: &[&str], then: impl FnOnce(noq::Path) -> Result<T>) -> Result<T> {
    let id: u32 = args.first().ok_or_else(|| anyhow!("no path"))?.parse()?;
    then(session.conn.path(PathId::from(id)).ok_or_else(|| anyhow!("no such path"))?)
}

fn status(session: &Session) -> String {
    let paths = session.paths.lock().unwrap();
    let list: Vec<String> = paths
        .iter()
        .filter_map(|(id, weak)| {
            let path = weak.upgrade()?;
            let stats = path.stats();
            let remote = path.remote_address().ok()?;
            Some(format!(
                r#"{{"path":{id},"remote":"{remote}","backup":{},"sent":{},"received":{},"lost":{}}}"#,
                path.status().ok()? == PathStatus::Backup,
                stats.udp_tx.bytes,
                stats.udp_rx.bytes,
                stats.lost_packets
            ))
        })
        .collect();
    format!(r#","paths":[{}]"#, list.join(","))
}

fn command(session: &Session, word: &str, args: &[&str]) -> Result<String> {
    let address = || -> Result<SocketAddr> { Ok(args.first().ok_or_else(|| anyhow!("no address"))?.parse()?) };
    match word {
        "open" => return open(session, args),
        "abandon" => with_path(session, args, |path| Ok(path.close()?))?,
        "backup" => with_path(session, args, |path| Ok(path.set_status(PathStatus::Backup).map(drop)?))?,
        "available" => with_path(session, args, |path| Ok(path.set_status(PathStatus::Available).map(drop)?))?,
        "status" => return Ok(status(session)),
        "keys" => session.conn.force_key_update(),
        "candidate" => session.conn.add_nat_traversal_address(address()?)?,
        "uncandidate" => session.conn.remove_nat_traversal_address(address()?)?,
        "candidates" => {
            let list: Vec<String> =
                session.conn.get_remote_nat_traversal_addresses()?.iter().map(|a| format!("{:?}", a.to_string())).collect();
            return Ok(format!(r#","addresses":[{}]"#, list.join(",")));
        }
        "punch" => drop(session.conn.initiate_nat_traversal_round()?),
        "end" => session.conn.close(args.first().unwrap_or(&"0").parse::<u32>()?.into(), b""),
        "echo" => {
            let size = args.first().unwrap_or(&"5").parse()?;
            let conn = session.conn.clone();
            tokio::spawn(async move {
                let result = echo(conn, size).await;
                let why = result.as_ref().err().map(|error| error.to_string()).unwrap_or_default();
                println!(r#"{{"event":"echoed","size":{size},"ok":{},"why":{why:?}}}"#, result.is_ok());
            });
        }
        _ => bail!("no such word"),
    }
    Ok(String::new())
}

pub async fn run(args: &[&str]) -> Result<()> {
    let (endpoint, id) = endpoint(&options(args)?)?;
    let current: Arc<Mutex<Option<Session>>> = Default::default();
    println!(r#"{{"event":"ready","id":"{id}","port":{}}}"#, endpoint.local_addr()?.port());
    let (accepting, theirs) = (endpoint.clone(), current.clone());
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            match incoming.await {
                Ok(conn) => adopt(conn, &theirs),
                Err(error) => println!(r#"{{"event":"refused","text":{:?}}}"#, error.to_string()),
            }
        }
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((word, rest)) = words.split_first() else { continue };
        let result = if *word == "connect" {
            // The id is for the other agent: whoever answers here is the one.
            let to = rest.get(1).ok_or_else(|| anyhow!("no address"))?.parse()?;
            let conn = tokio::time::timeout(Duration::from_secs(20), endpoint.connect(to, "peer")?).await??;
            adopt(conn, &current);
            Ok(String::new())
        } else {
            let session = current.lock().unwrap().clone();
            session.ok_or_else(|| anyhow!("not connected")).and_then(|session| command(&session, word, rest))
        };
        match result {
            Ok(more) => println!(r#"{{"did":"{word}","ok":true{more}}}"#),
            Err(error) => println!(r#"{{"did":"{word}","ok":false,"why":{:?}}}"#, format!("{error:#}")),
        }
    }
    endpoint.close(0u32.into(), b"");
    endpoint.wait_idle().await;
    Ok(())
}
