//! Relays of this agent's endpoint: the options that come before the command, and lines that tell what became of them.
use anyhow::{bail, Context, Result};
use iroh::{
    endpoint::{presets, Builder, Connection},
    tls::CaTlsConfig,
    Endpoint, EndpointAddr, RelayConfig, RelayMap, RelayMode, RelayUrl, TransportAddr, Watcher,
};
use std::{sync::OnceLock, time::Duration};
use tokio_stream::StreamExt;

/// What stands before the command. Without any `--relay` the endpoint is as it always was: loopback addresses only.
#[derive(Debug, Default)]
pub struct Options {
    relays: Vec<RelayConfig>,
    relay_only: bool,
    ca: Option<Vec<u8>>,
    proxy: Option<String>,
    lookup: crate::lookup::Options,
}

static OPTIONS: OnceLock<Options> = OnceLock::new();

pub fn options() -> &'static Options {
    OPTIONS.get_or_init(Options::default)
}

/// Takes the options off the front; the command and its words are left.
pub fn take_options<'a>(mut words: &'a [&'a str]) -> Result<&'a [&'a str]> {
    let mut found = Options::default();
    loop {
        words = match words {
            ["--relay", url, rest @ ..] => {
                found.relays.push(RelayConfig::new(url.parse::<RelayUrl>()?, None));
                rest
            }
            ["--quic", port, rest @ ..] => {
                let last = found.relays.last_mut().context("--quic before --relay")?;
                last.quic = Some(iroh_relay::RelayQuicConfig::new(port.parse()?));
                rest
            }
            ["--token", token, rest @ ..] => {
                let last = found.relays.pop().context("--token before --relay")?;
                found.relays.push(last.with_auth_token(*token));
                rest
            }
            ["--relay-only", rest @ ..] => {
                found.relay_only = true;
                rest
            }
            ["--ca", path, rest @ ..] => {
                found.ca = Some(std::fs::read(path)?);
                rest
            }
            ["--proxy", url, rest @ ..] => {
                found.proxy = Some(url.to_string());
                rest
            }
            [name, value, rest @ ..] if name.starts_with("--") && found.lookup.take(name, value)? => rest,
            _ => break,
        };
    }
    OPTIONS.set(found).ok().context("options twice")?;
    Ok(words)
}

/// DER certificates of a PEM file.
fn certificates(pem: &[u8]) -> Result<Vec<rustls_pki_types::CertificateDer<'static>>> {
    use rustls_pki_types::pem::PemObject;
    let found: Vec<_> = rustls_pki_types::CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?;
    if found.is_empty() {
        bail!("no certificate in the file");
    }
    Ok(found)
}

impl Options {
    pub fn in_use(&self) -> bool {
        !self.relays.is_empty()
    }

    pub fn builder(&self) -> Result<Builder> {
        let mut builder = Endpoint::builder(presets::Minimal).clear_ip_transports();
        builder = match self.in_use() {
            true => builder.relay_mode(RelayMode::Custom(RelayMap::from_iter(self.relays.iter().cloned()))),
            false => builder.relay_mode(RelayMode::Disabled),
        };
        if let Some(pem) = &self.ca {
            builder = builder.ca_tls_config(CaTlsConfig::custom_roots(certificates(pem)?));
        }
        if let Some(url) = &self.proxy {
            builder = builder.proxy_url(url.parse()?);
        }
        self.lookup.apply(builder)
    }

    /// Whether endpoints find each other on the local network.
    pub fn is_local(&self) -> bool {
        self.lookup.is_local()
    }

    pub fn has_sockets(&self) -> bool {
        !self.relay_only
    }

    /// The address that a ticket names: bound sockets and all relays of the options, so that it holds whichever is home.
    pub fn full_addr(&self, mut addr: EndpointAddr) -> EndpointAddr {
        for relay in &self.relays {
            addr = addr.with_relay_url(relay.url.clone());
        }
        addr
    }

    /// Waits for a home relay, and says so if there is none in time: what the caller does then may be the test.
    pub async fn wait_online(&self, endpoint: &Endpoint) {
        if self.in_use() && tokio::time::timeout(Duration::from_secs(8), endpoint.online()).await.is_err() {
            println!("OFFLINE");
        }
    }

    /// Prints a line whenever the home relay or the observed address changes.
    pub fn report(&self, endpoint: &Endpoint) {
        if !self.in_use() {
            return;
        }
        let mut homes = endpoint.home_relay_status().stream();
        tokio::spawn(async move {
            while let Some(relays) = homes.next().await {
                for relay in relays {
                    println!(
                        r#"HOME {{"url":"{}","connected":{},"denied":{:?},"error":{:?}}}"#,
                        relay.url(),
                        relay.is_connected(),
                        relay.auth_denied_reason().unwrap_or(""),
                        relay.last_error().map(|error| format!("{error:#}")).unwrap_or_default(),
                    );
                }
            }
        });
        let mut reports = endpoint.net_report().stream();
        tokio::spawn(async move {
            while let Some(report) = reports.next().await {
                let Some(report) = report else { continue };
                let address = report.global_v4.map(|a| a.to_string()).or(report.global_v6.map(|a| a.to_string()));
                let latencies: Vec<String> = report
                    .relay_latency
                    .iter()
                    .map(|(probe, url, rtt)| format!(r#"{{"probe":"{probe:?}","url":"{url}","ms":{:.3}}}"#, rtt.as_secs_f64() * 1e3))
                    .collect();
                println!(
                    r#"REPORT {{"preferred":"{}","observed":"{}","captive":{},"latencies":[{}]}}"#,
                    report.preferred_relay.map(|url| url.to_string()).unwrap_or_default(),
                    address.unwrap_or_default(),
                    report.captive_portal.unwrap_or(false),
                    latencies.join(",")
                );
            }
        });
    }
}

/// Prints the paths of a connection now and whenever they change.
pub fn report_paths(conn: &Connection) {
    if !options().in_use() {
        return;
    }
    let conn = conn.clone();
    tokio::spawn(async move {
        let mut lists = conn.paths_stream();
        while let Some(list) = lists.next().await {
            let paths: Vec<String> = list
                .iter()
                .map(|path| {
                    let remote = match path.remote_addr() {
                        TransportAddr::Relay(url) => url.to_string(),
                        TransportAddr::Ip(addr) => addr.to_string(),
                        other => format!("{other:?}"),
                    };
                    format!(r#"{{"remote":"{remote}","relay":{},"selected":{}}}"#, path.is_relay(), path.is_selected())
                })
                .collect();
            println!("PATHS [{}]", paths.join(","));
        }
    });
}
