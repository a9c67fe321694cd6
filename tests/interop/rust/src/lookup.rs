//! Address lookup of this agent's endpoint: the options that come before the command, and a command that shows what is found.
use anyhow::{bail, Result};
use iroh::{
    address_lookup::{AddrFilter, AddressLookupFailed, DnsAddressLookup, EndpointInfo, PkarrPublisher, PkarrResolver},
    dns::DnsResolver,
    endpoint::Builder,
    Endpoint, EndpointId, SecretKey, TransportAddr,
};
use iroh_mdns_address_lookup::{DiscoveryEvent, MdnsAddressLookup};
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
    mdns: bool,
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
            "--lookup" if value == "mdns" => self.mdns = true,
            "--user-data" => self.user_data = Some(value.to_string()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub fn is_local(&self) -> bool {
        self.mdns
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
        if self.mdns {
            builder = builder.address_lookup(MdnsAddressLookup::builder());
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
                    println!(
                        r#"FOUND {{"provenance":"{}","updated":{},{}}}"#,
                        item.provenance(),
                        item.last_updated().unwrap_or(0),
                        members(item.endpoint_info())
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

/// The members of a JSON object for what an endpoint says of itself.
fn members(info: &EndpointInfo) -> String {
    let addrs: Vec<String> = info.addrs().map(text).map(|addr| format!("{addr:?}")).collect();
    let user_data = info.user_data().map(|data| data.to_string()).unwrap_or_default();
    format!(r#""addrs":[{}],"user_data":{user_data:?}"#, addrs.join(","))
}

/// Listens to the local network without saying anything: a line for each event, until standard input ends.
pub async fn watch() -> Result<()> {
    let service = MdnsAddressLookup::builder().advertise(false).build(SecretKey::generate().public())?;
    let mut events = service.subscribe().await;
    println!("READY");
    let all = async {
        while let Some(event) = events.next().await {
            match event {
                DiscoveryEvent::Discovered { endpoint_info, .. } => {
                    println!(r#"DISCOVERED {{"id":"{}",{}}}"#, endpoint_info.endpoint_id, members(&endpoint_info))
                }
                DiscoveryEvent::Expired { endpoint_id } => println!(r#"EXPIRED {{"id":"{endpoint_id}"}}"#),
                _ => println!("EVENT"),
            }
        }
    };
    tokio::select! {
        _ = all => bail!("the service ended"),
        _ = crate::wait_for_stdin_end() => Ok(()),
    }
}

fn text(addr: &TransportAddr) -> String {
    match addr {
        TransportAddr::Relay(url) => format!("relay:{url}"),
        TransportAddr::Ip(addr) => format!("ip:{addr}"),
        other => format!("{other:?}"),
    }
}
