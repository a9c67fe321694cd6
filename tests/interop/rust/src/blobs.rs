//! Blobs, both sides, on the real iroh-blobs.
use anyhow::{ensure, Context, Result};
use iroh::protocol::Router;
use iroh_blobs::{
    format::collection::Collection,
    protocol::{ChunkRanges, ChunkRangesExt, GetRequest},
    store::mem::MemStore,
    ticket::BlobTicket,
    BlobFormat, BlobsProtocol,
};
use std::path::{Path, PathBuf};

fn files_below(root: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, out)?;
        } else {
            out.push(path);
        }
    }
    out.sort();
    Ok(())
}

pub async fn serve(paths: &[&str]) -> Result<()> {
    let store = MemStore::new();
    let endpoint = crate::bind(None, vec![iroh_blobs::ALPN.to_vec()]).await?;
    let addr = crate::loopback_addr(&endpoint);
    let mut kept = Vec::new();
    for path in paths {
        let path = std::path::absolute(path)?;
        let (hash, format) = if path.is_dir() {
            let mut files = Vec::new();
            files_below(&path, &mut files)?;
            let mut collection = Collection::default();
            for file in files {
                let tag = store.blobs().add_path(file.clone()).await?;
                let name = file.strip_prefix(path.parent().context("no parent")?)?;
                collection.push(name.to_string_lossy().into_owned(), tag.hash);
            }
            let tag = collection.store(&store).await?;
            let hash = tag.hash();
            kept.push(tag);
            (hash, BlobFormat::HashSeq)
        } else {
            let tag = store.blobs().add_path(path).await?;
            (tag.hash, tag.format)
        };
        println!("READY {}", BlobTicket::new(addr.clone(), hash, format));
    }
    let router = Router::builder(endpoint).accept(iroh_blobs::ALPN, BlobsProtocol::new(&store, None)).spawn();
    crate::wait_for_stdin_end().await;
    router.shutdown().await?;
    Ok(())
}

pub async fn get(ticket: &str, out: &str, args: &[&str]) -> Result<()> {
    let ticket: BlobTicket = ticket.parse()?;
    let store = MemStore::new();
    let endpoint = crate::bind(None, vec![]).await?;
    let conn = endpoint.connect(ticket.addr().clone(), iroh_blobs::ALPN).await?;
    if let Some(range) = args.first() {
        let (first, last) = range.split_once("..").context("FIRST..LAST")?;
        let (first, last): (u64, u64) = (first.parse()?, last.parse()?);
        let request = GetRequest::blob_ranges(ticket.hash(), ChunkRanges::chunks(first..last));
        store.remote().execute_get(conn, request).complete().await?;
        let bytes = store.blobs().export_ranges(ticket.hash(), first * 1024..last * 1024).concatenate().await?;
        std::fs::write(out, bytes)?;
    } else if ticket.format() == BlobFormat::HashSeq {
        store.remote().fetch(conn, ticket.hash_and_format()).await?;
        let collection = Collection::load(ticket.hash(), &*store).await?;
        for (name, hash) in collection.iter() {
            ensure!(!name.contains(".."), "a name with ..");
            let path = std::path::absolute(Path::new(out).join(name))?;
            store.blobs().export(*hash, path).await?;
        }
    } else {
        store.remote().fetch(conn, ticket.hash_and_format()).await?;
        store.blobs().export(ticket.hash(), std::path::absolute(out)?).await?;
    }
    endpoint.close().await;
    Ok(())
}
