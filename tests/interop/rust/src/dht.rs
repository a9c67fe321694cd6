//! The real DHT: nodes of n0-mainline, and the address lookup of the crate iroh-mainline-address-lookup.
use anyhow::{bail, Context, Result};
use iroh::{
    address_lookup::{AddrFilter, AddressLookup, EndpointData, UserData},
    EndpointId, SecretKey, TransportAddr,
};
use iroh_mainline_address_lookup::DhtAddressLookup;
use n0_mainline::{Dht, DhtBuilder};
use std::time::Duration;
use tokio_stream::StreamExt;

/// `[--bootstrap ADDRESS:PORT]...` at the front: with none there is no network to join.
fn builder<'a>(mut words: &'a [&'a str]) -> (DhtBuilder, &'a [&'a str]) {
    let mut builder = Dht::builder();
    let mut bootstrap = Vec::new();
    while let ["--bootstrap", address, rest @ ..] = words {
        bootstrap.push(address.to_string());
        words = rest;
    }
    builder.bootstrap(&bootstrap);
    (builder, words)
}

/// COUNT nodes that answer and store, the first of them joined by all others; one READY line each, then until standard input ends.
pub async fn nodes(words: &[&str]) -> Result<()> {
    let (builder, rest) = builder(words);
    let count: usize = match rest {
        [] => 1,
        [count] => count.parse()?,
        _ => bail!("usage: dht-node [--bootstrap ADDRESS:PORT]... [COUNT]"),
    };
    let mut nodes = Vec::new();
    let mut first = None;
    for _ in 0..count {
        let mut builder = builder.clone();
        builder.server_mode();
        if let Some(first) = &first {
            builder.extra_bootstrap(&[first]);
        }
        let node = builder.build()?;
        let address = format!("127.0.0.1:{}", node.info().await?.local_addr().port());
        first.get_or_insert(address.clone());
        nodes.push((node, address));
    }
    for (node, address) in &nodes {
        node.bootstrapped().await?;
        println!("READY {address}");
    }
    crate::wait_for_stdin_end().await;
    Ok(())
}

/// Publishes as an endpoint does; PUBLISHED when a second client finds it, then until standard input ends.
pub async fn publish(words: &[&str]) -> Result<()> {
    let (builder, rest) = builder(words);
    let [secret, rest @ ..] = rest else { bail!("usage: dht-publish [--bootstrap ADDRESS:PORT]... SECRET [--relay URL | --ip ADDRESS | --user-data TEXT]...") };
    let secret: SecretKey = secret.parse()?;
    let mut addrs = Vec::new();
    let mut user_data = None;
    for pair in rest.chunks(2) {
        match pair {
            ["--relay", url] => addrs.push(TransportAddr::Relay(url.parse()?)),
            ["--ip", address] => addrs.push(TransportAddr::Ip(address.parse()?)),
            ["--user-data", text] => user_data = Some(UserData::try_from(text.to_string())?),
            _ => bail!("unknown words: {pair:?}"),
        }
    }
    let mut data = EndpointData::new(addrs);
    data.set_user_data(user_data);
    let service = DhtAddressLookup::builder()
        .secret_key(secret.clone())
        .dht_builder(builder.clone())
        .addr_filter(AddrFilter::unfiltered())
        .build()?;
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros() as i64;
    service.publish(&data);
    let looker = builder.build()?;
    loop {
        let found = looker.get_mutable_most_recent(secret.public().as_bytes(), None).await?;
        if found.is_some_and(|item| item.seq() >= started) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("PUBLISHED {}", secret.public());
    crate::wait_for_stdin_end().await;
    Ok(())
}

/// Looks once and prints each address found, as `relay URL` or `ip ADDRESS`, `user-data TEXT`; then END.
pub async fn resolve(words: &[&str]) -> Result<()> {
    let (builder, rest) = builder(words);
    let [id] = rest else { bail!("usage: dht-resolve [--bootstrap ADDRESS:PORT]... ID") };
    let id: EndpointId = id.parse()?;
    let service = DhtAddressLookup::builder().dht_builder(builder).no_publish().build()?;
    let mut found = service.resolve(id).context("the service resolves nothing")?;
    while let Some(item) = found.next().await {
        let item = item?;
        for url in item.endpoint_info().relay_urls() {
            println!("relay {url}");
        }
        for address in item.endpoint_info().ip_addrs() {
            println!("ip {address}");
        }
        if let Some(text) = item.user_data() {
            println!("user-data {text}");
        }
    }
    println!("END");
    Ok(())
}
