//! The bench's own programs: a bare endpoint as the floor, and a load with a fixed rate.
//!
//! `tool floor LISTEN` serves `POST /` with a parsed and a written JSON object, and nothing else.
//! `tool load ADDRESS RATE SECONDS CONNECTIONS < REQUEST` sends one raw HTTP/1.1 request at a constant rate and prints
//! the latencies, measured from when a request was due, so that a stall counts for all that it delayed.

#![allow(clippy::cast_precision_loss, reason = "rates and times of a bench")]

use std::io::{Read as _, Write as _};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

#[derive(Deserialize)]
struct Question {
    app: String,
    api: String,
}

#[derive(Serialize)]
struct Answer {
    call_id: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.as_slice() {
        ["floor", listen] => runtime.block_on(floor(listen)),
        ["load", address, rate, seconds, connections] => {
            let mut request = Vec::new();
            std::io::stdin().read_to_end(&mut request)?;
            runtime.block_on(load(address, rate.parse()?, seconds.parse()?, connections.parse()?, request))
        }
        _ => anyhow::bail!("usage: tool floor LISTEN | tool load ADDRESS RATE SECONDS CONNECTIONS < REQUEST"),
    }
}

async fn floor(listen: &str) -> anyhow::Result<()> {
    let server = HttpServer::new(|| {
        App::new().route(
            "/",
            web::post().to(async |question: web::Json<Question>| {
                HttpResponse::Created().json(Answer { call_id: question.app.len() + question.api.len() })
            }),
        )
    });
    Ok(server.workers(2).bind(listen)?.run().await?)
}

async fn load(
    address: &str,
    rate: f64,
    seconds: f64,
    connections: usize,
    request: Vec<u8>,
) -> anyhow::Result<()> {
    let begun = Instant::now() + Duration::from_millis(100);
    let every = Duration::from_secs_f64(connections as f64 / rate);
    let each = (rate * seconds / connections as f64) as u32;
    let tasks: Vec<_> = (0..connections)
        .map(|i| {
            let first = begun + every.mul_f64(i as f64 / connections as f64);
            tokio::spawn(connection(address.to_owned(), request.clone(), first, every, each))
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_micros();
    let line = format!(
        "{{\"requests\":{},\"p50_us\":{},\"p90_us\":{},\"p99_us\":{},\"max_us\":{}}}\n",
        latencies.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}

async fn connection(
    address: String,
    request: Vec<u8>,
    first: Instant,
    every: Duration,
    each: u32,
) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let mut latencies = Vec::with_capacity(each as usize);
    let mut buffer = vec![0; 64 * 1024];
    for i in 0..each {
        let due = first + every * i;
        tokio::time::sleep_until(due).await;
        stream.write_all(&request).await?;
        answer(&mut stream, &mut buffer).await?;
        latencies.push(due.elapsed());
    }
    Ok(latencies)
}

/// Reads one answer, whose length is in its head.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut have = 0;
    loop {
        let read = stream.read(&mut buffer[have..]).await?;
        anyhow::ensure!(read > 0, "the connection was closed");
        have += read;
        let Some(end) = buffer[..have].windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        anyhow::ensure!(head.starts_with("http/1.1 2"), "refused: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
        if have >= end + 4 + length {
            return Ok(());
        }
    }
}
