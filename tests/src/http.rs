//! Plain requests, for what serves or speaks HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, in lower case.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| &**value)
    }
}

/// An answer whose body has not been read.
pub struct Reading {
    reader: BufReader<TcpStream>,
    /// Its status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The rest of the current chunk.
    chunk: usize,
}

/// Sends a request and reads the head of the answer.
///
/// # Panics
///
/// If the server does not answer.
pub fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reading {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head += &format!("host: {address}\r\n");
    }
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    head += &format!("content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut reader = BufReader::new(stream);
    let status = line(&mut reader);
    let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut headers = Vec::new();
    loop {
        let line = line(&mut reader);
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    Reading { reader, status: status.expect("a status"), headers, chunk: 0 }
}

fn line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("the server answers in time");
    line.truncate(line.trim_end().len());
    line
}

/// Sends a request and reads the answer.
///
/// # Panics
///
/// If the server does not answer.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    send(address, method, path, headers, body).finish()
}

impl Reading {
    /// Reads the body.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub fn finish(mut self) -> Answer {
        let header = |name: &str| self.headers.iter().find(|(header, _)| header == name);
        let mut body = Vec::new();
        if header("transfer-encoding").is_some() {
            self.read_to_end(&mut body).expect("the body ends");
        } else {
            let length = header("content-length").and_then(|(_, value)| value.parse().ok());
            let mut rest = self.reader.take(length.unwrap_or(u64::MAX));
            rest.read_to_end(&mut body).expect("the body ends");
        }
        Answer { status: self.status, headers: self.headers, body }
    }

    /// The data of the next event of a stream; `None` at its end.
    pub fn event(&mut self) -> Option<String> {
        let mut reader = BufReader::with_capacity(1, self);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(data.trim_end().to_owned());
            }
        }
    }
}

/// Reads the body, which comes in chunks.
impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.chunk == 0 {
            let mut size = String::new();
            self.reader.read_line(&mut size)?;
            if size == "\r\n" {
                size.clear();
                self.reader.read_line(&mut size)?;
            }
            self.chunk = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            if self.chunk == 0 {
                return Ok(0);
            }
        }
        let most = buffer.len().min(self.chunk);
        let count = self.reader.read(&mut buffer[..most])?;
        self.chunk -= count;
        Ok(count)
    }
}
