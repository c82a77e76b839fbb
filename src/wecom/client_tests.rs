use std::{net::SocketAddr, time::Instant};

use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;

pub const TOKEN: &str = "t0kenT0kenT0kenT0kenT0kenT0ken42";
const SHORT: Timeouts = Timeouts { head: Duration::from_millis(300), idle: Duration::from_millis(300) };

/// Answers one connection with raw bytes and gives back what it was asked.
pub async fn answering(answer: &'static str) -> (Upstream, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let asked = read_request(&mut socket).await;
        socket.write_all(answer.as_bytes()).await.unwrap();
        asked
    });
    (upstream(address), server)
}

/// Accepts, reads, and then says nothing for as long as the test lives.
pub async fn hanging() -> (Upstream, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        std::future::pending::<()>().await;
    });
    (upstream(address), server)
}

pub async fn refusing() -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    upstream(listener.local_addr().unwrap())
}

fn upstream(address: SocketAddr) -> Upstream {
    Upstream::new(&format!("http://{address}"), Duration::from_secs(5)).unwrap()
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut asked = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&asked).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |n| n.parse().unwrap()) {
                return text;
            }
        }
        let mut buffer = [0; 4096];
        match socket.read(&mut buffer).await.unwrap() {
            0 => return text,
            n => asked.extend_from_slice(&buffer[..n]),
        }
    }
}

async fn post(upstream: &Upstream, body: RequestBody) -> Result<Response, SendError> {
    let api = ApiName::parse("/cgi-bin/message/send").unwrap();
    let query = SecretString::from(format!("access_token={TOKEN}&x=%e4%bd"));
    let headers = vec![("content-type", &b"application/json"[..]), ("content-length", b"999")];
    upstream.send(Request { method: Method::POST, api: &api, query, headers, body, timeouts: SHORT }).await
}

async fn fails(upstream: &Upstream) -> SendError {
    match post(upstream, RequestBody::Empty).await {
        Ok(response) => panic!("answered with {}", response.status),
        Err(error) => error,
    }
}

#[test]
fn a_base_is_an_origin_and_nothing_more() {
    assert_eq!(Upstream::new(DEFAULT_BASE, Duration::from_secs(5)).unwrap().base(), DEFAULT_BASE);
    assert!(Upstream::new("http://127.0.0.1:8701/", Duration::from_secs(5)).is_ok());
    for base in [
        "",
        "qyapi.weixin.qq.com",
        "ftp://x",
        "https://x/cgi-bin",
        "https://x/?a",
        "https://x/#a",
        "https://u:p@x",
    ] {
        assert!(matches!(Upstream::new(base, Duration::from_secs(5)), Err(UpstreamError::Base(_))), "{base}");
    }
}

#[tokio::test]
async fn a_refused_connection_means_that_nothing_was_sent() {
    let error = fails(&refusing().await).await;
    assert!(matches!(error, SendError::NotSent { .. }), "{error:?}");
    assert!(!error.to_string().contains(TOKEN) && !error.to_string().contains("cgi-bin"), "{error}");
}

#[tokio::test]
async fn a_connection_that_closes_without_an_answer_is_unknown() {
    for answer in ["", "HTTP/1.1 20", "nonsense\r\n\r\n"] {
        let (upstream, _server) = answering(answer).await;
        let error = fails(&upstream).await;
        assert!(matches!(error, SendError::Unknown { timed_out: false, .. }), "{answer:?}: {error:?}");
        assert!(!error.to_string().contains(TOKEN) && !error.to_string().contains("cgi-bin"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_unknown_and_timed_out() {
    let (upstream, _server) = hanging().await;
    let started = Instant::now();
    let error = fails(&upstream).await;
    assert!(matches!(error, SendError::Unknown { timed_out: true, .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_and_stays_one() {
    let (upstream, _server) = answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"errcode\":0").await;
    let mut body = post(&upstream, RequestBody::Empty).await.unwrap().body;
    assert_eq!(body.chunk().await.unwrap().unwrap(), "{\"errcode\":0");
    for _ in 0..2 {
        let error = body.chunk().await.unwrap_err();
        assert!(matches!(error, BodyError::Broken(_)), "{error:?}");
        assert!(!error.to_string().contains(TOKEN), "{error}");
    }
}

#[tokio::test]
async fn a_body_that_stops_is_given_up_after_the_idle_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = upstream(listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab").await.unwrap();
        std::future::pending::<()>().await;
    });
    let body = post(&upstream, RequestBody::Empty).await.unwrap().body;
    let pieces: Vec<_> = body.into_stream().collect().await;
    assert_eq!(pieces.len(), 2);
    assert_eq!(pieces[1], Err(BodyError::TimedOut(SHORT.idle)));
    server.abort();
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (upstream, _server) =
        answering("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(post(&upstream, RequestBody::Empty).await.unwrap().status, 302);
}

#[tokio::test]
async fn a_request_goes_out_with_its_bytes_and_its_length_and_unchunked() {
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nerror-code: 0\r\n\r\n{}";
    let pieces = stream::iter(["{\"a\"", ":1}"]).map(|piece| Ok(Bytes::from(piece))).boxed();
    for (body, length, sent) in [
        (RequestBody::Empty, 0, ""),
        (RequestBody::Bytes("{\"a\":1}".into()), 7, "{\"a\":1}"),
        (RequestBody::Stream { len: 7, stream: pieces }, 7, "{\"a\":1}"),
    ] {
        let (upstream, server) = answering(OK).await;
        let response = post(&upstream, body).await.unwrap();
        assert_eq!(response.head().error_code, Some("0"));
        assert_eq!(response.body.read_all(2).await.unwrap(), "{}");
        let asked = server.await.unwrap();
        let first = format!("POST /cgi-bin/message/send?access_token={TOKEN}&x=%e4%bd HTTP/1.1\r\n");
        assert!(asked.starts_with(&first), "{asked}");
        assert_eq!(asked.matches("content-length").count(), 1, "{asked}");
        assert!(asked.contains(&format!("\r\ncontent-length: {length}\r\n")), "{asked}");
        assert!(!asked.contains("transfer-encoding") && !asked.contains("accept-encoding"), "{asked}");
        assert!(asked.ends_with(&format!("\r\n\r\n{sent}")), "{asked}");
    }
}

#[tokio::test]
async fn a_get_carries_no_body_headers() {
    let (upstream, server) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let api = ApiName::parse("/cgi-bin/user/get").unwrap();
    let (query, headers) = (SecretString::from(""), Vec::new());
    let request =
        Request { method: Method::GET, api: &api, query, headers, body: RequestBody::Empty, timeouts: SHORT };
    upstream.send(request).await.unwrap();
    let asked = server.await.unwrap();
    assert!(asked.starts_with("GET /cgi-bin/user/get HTTP/1.1\r\n"), "{asked}");
    assert!(!asked.contains("content-"), "{asked}");
}

#[tokio::test]
async fn a_body_shorter_than_declared_is_no_success() {
    let (upstream, server) = hanging().await;
    let stream = stream::iter([Ok(Bytes::from_static(b"abc"))]).boxed();
    let outcome = post(&upstream, RequestBody::Stream { len: 10, stream }).await;
    assert!(matches!(outcome, Err(SendError::Unknown { .. })));
    server.abort();
}

#[tokio::test]
async fn what_a_url_would_change_is_not_sent() {
    let upstream = refusing().await;
    let api = ApiName::parse("/cgi-bin/user/get").unwrap();
    for query in ["a=b c", "a=#b", "a=\nb"] {
        let (query, headers) = (SecretString::from(query), Vec::new());
        let request = Request {
            method: Method::GET,
            api: &api,
            query,
            headers,
            body: RequestBody::Empty,
            timeouts: SHORT,
        };
        let Err(error) = upstream.send(request).await else { panic!("sent") };
        assert!(error.to_string().contains("percent-encode"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_collected() {
    let (upstream, _server) = answering("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc").await;
    let body = post(&upstream, RequestBody::Empty).await.unwrap().body;
    assert_eq!(body.read_all(2).await, Err(BodyError::TooLong(2)));
}
