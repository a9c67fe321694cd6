//! Address lookup of this agent's endpoint: the options that come before the command, and a command that shows what is found.
use anyhow::{bail, Result};
use iroh::{
    address_lookup::{AddrFilter, AddressLookupFailed, DnsAddressLookup, PkarrPublisher, PkarrResolver},
    dns::DnsResolver,
    endpoint::Builder,
    Endpoint, EndpointId, TransportAddr,
};
use std::{net::SocketAddr, time::Duration};
use tokio_stream::StreamExt;

/// Where to publish and whom to ask; nothing by default.
#[derive(Debug, Default)]
pub struct Options {
    publish: Vec<String>,
    resolve: Vec<String>,
    origins: Vec<String>,
    dns_server: Option<SocketAddr>,
    publish_all: bool,
    user_data: Option<String>,
}

impl Options {
    /// Takes one option with its value; false if it is none of these.
    pub fn take(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "--pkarr-publish" => self.publish.push(value.to_string()),
            "--pkarr-resolve" => self.resolve.push(value.to_string()),
            "--dns-origin" => self.origins.push(value.to_string()),
            "--dns-server" => self.dns_server = Some(value.parse()?),
            "--publish" => self.publish_all = value == "all",
            "--user-data" => self.user_data = Some(value.to_string()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub fn apply(&self, mut builder: Builder) -> Result<Builder> {
        if let Some(server) = self.dns_server {
            builder = builder.dns_resolver(DnsResolver::with_nameserver(server));
        }
        for url in &self.publish {
            let mut publisher = PkarrPublisher::builder(url.parse()?);
            if self.publish_all {
                publisher = publisher.addr_filter(AddrFilter::unfiltered());
            }
            builder = builder.address_lookup(publisher);
        }
        for url in &self.resolve {
            builder = builder.address_lookup(PkarrResolver::builder(url.parse()?));
        }
        for origin in &self.origins {
            builder = builder.address_lookup(DnsAddressLookup::builder(origin.clone()));
        }
        if let Some(text) = &self.user_data {
            builder = builder.user_data_for_address_lookup(text.parse()?);
        }
        Ok(builder)
    }
}

/// Prints a FOUND line for each item, then END; fails if there was none within the limit.
pub async fn run(id: &str) -> Result<()> {
    let endpoint: Endpoint = crate::bind(None, vec![]).await?;
    let id: EndpointId = id.parse()?;
    let mut items = endpoint.address_lookup()?.resolve(id);
    let mut count = 0;
    let all = async {
        while let Some(item) = items.next().await {
            match item {
                Ok(Ok(item)) => {
                    let info = item.endpoint_info();
                    let addrs: Vec<String> = info.addrs().map(text).map(|addr| format!("{addr:?}")).collect();
                    let user_data = info.user_data().map(|data| data.to_string()).unwrap_or_default();
                    println!(
                        r#"FOUND {{"provenance":"{}","updated":{},"addrs":[{}],"user_data":{user_data:?}}}"#,
                        item.provenance(),
                        item.last_updated().unwrap_or(0),
                        addrs.join(",")
                    );
                    count += 1;
                }
                Ok(Err(error)) => println!("ERROR {error:#}"),
                Err(AddressLookupFailed::NoResults { .. }) => println!("ERROR no results"),
                Err(error) => println!("ERROR {error:#}"),
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(20), all).await;
    endpoint.close().await;
    if count == 0 {
        bail!("nothing found");
    }
    println!("END");
    Ok(())
}

fn text(addr: &TransportAddr) -> String {
    match addr {
        TransportAddr::Relay(url) => format!("relay:{url}"),
        TransportAddr::Ip(addr) => format!("ip:{addr}"),
        other => format!("{other:?}"),
    }
}
