//! HTTP by hand: requests that no client library sends, and an upstream that answers in its own way.

use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A message as it stood on the wire: its head, and its body as far as it came.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Start line and headers.
    pub head: String,
    pub body: Vec<u8>,
    /// Whether all of the body came that the head announced.
    pub whole: bool,
}

impl Message {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Of an answer.
    pub fn status(&self) -> u16 {
        self.head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// Of a request, as it was sent.
    pub fn target(&self) -> &str {
        self.head.split_whitespace().nth(1).unwrap_or("")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.head, String::from_utf8_lossy(&self.body)))
    }

    /// Reads one from a connection.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut all = Vec::new();
        let end = loop {
            if let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut all).await.unwrap_or(0) == 0 {
                break all.len();
            }
        };
        let body = all.split_off(end);
        let mut message = Self { head: String::from_utf8_lossy(&all).into_owned(), body, whole: false };
        let chunked = message.header("transfer-encoding").is_some_and(|value| value.contains("chunked"));
        let announced = message.header("content-length").and_then(|length| length.parse::<usize>().ok());
        let is_whole = |body: &[u8]| match announced {
            Some(length) => body.len() >= length,
            None if chunked => body.ends_with(b"0\r\n\r\n"),
            None => true,
        };
        while !is_whole(&message.body) {
            if stream.read_buf(&mut message.body).await.unwrap_or(0) == 0 {
                return message;
            }
        }
        message.whole = true;
        message
    }
}

fn address(url: &str) -> &str {
    url.strip_prefix("http://").unwrap()
}

/// Sends `head` (without its last, empty line) and `body` on a new connection.
pub async fn send(url: &str, head: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address(url)).await.unwrap();
    let head = format!("{}\r\nhost: {}\r\n\r\n", head.trim_end(), address(url));
    // A server that has heard enough may close while we still write.
    if stream.write_all(head.as_bytes()).await.is_ok() {
        let _ = stream.write_all(body).await;
    }
    stream
}

/// The same, and the answer.
pub async fn exchange(url: &str, head: &str, body: &[u8]) -> Message {
    Message::read(&mut send(url, head, body).await).await
}

/// GETs a request target exactly as it is written.
pub async fn get(url: &str, target: &str) -> Message {
    exchange(url, &format!("GET {target} HTTP/1.1"), b"").await
}

/// A WeCom whose answers a test writes byte by byte. `gettoken` it answers itself.
pub struct Upstream {
    pub url: String,
    requests: Arc<Mutex<Vec<Message>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Upstream {
    pub async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Message, TcpStream) -> A + Clone + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<Message>>> = Arc::default();
        let seen = Arc::clone(&requests);
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, seen) = (answer.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let request = Message::read(&mut stream).await;
                    if request.target().starts_with("/cgi-bin/gettoken?") {
                        let body = r#"{"errcode":0,"errmsg":"ok","access_token":"real-token-of-the-upstream","expires_in":7200}"#;
                        return reply(&mut stream, "content-type: application/json\r\n", body.as_bytes())
                            .await;
                    }
                    seen.lock().unwrap().push(request.clone());
                    answer(request, stream).await;
                });
            }
        });
        Self { url, requests, serving }
    }

    /// What arrived, but for `gettoken`.
    pub fn requests(&self) -> Vec<Message> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A whole answer on a connection that ends with it; `headers` end with CRLF each.
pub async fn reply(stream: &mut TcpStream, headers: &str, body: &[u8]) {
    let head =
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body).await;
    let _ = stream.shutdown().await;
}
