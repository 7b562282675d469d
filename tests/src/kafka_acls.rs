//! Rights on a real Apache Kafka, given and taken away. rdkafka has no functions for them, and Kafka's own tool takes
//! seconds to start, so the two requests are written here, as <https://kafka.apache.org/protocol> has them.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, ensure};

/// What a right is on.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    Topic(&'a str),
    /// All topics whose names begin so.
    Topics(&'a str),
    /// All groups whose names begin so.
    Groups(&'a str),
    /// All transactional ids that begin so.
    TransactionalIds(&'a str),
    Cluster,
}

/// What may be done; the numbers are the protocol's.
#[derive(Debug, Clone, Copy)]
#[repr(i8)]
pub enum Operation {
    All = 2,
    Read = 3,
    Write = 4,
    Describe = 8,
    DescribeConfigs = 10,
}

/// Whether it is allowed, or denied whatever else is allowed; the numbers are the protocol's.
#[derive(Debug, Clone, Copy)]
#[repr(i8)]
pub enum Permission {
    Deny = 2,
    Allow = 3,
}

/// One right, of one user.
#[derive(Debug, Clone, Copy)]
pub struct Right<'a> {
    pub user: &'a str,
    pub resource: Resource<'a>,
    pub operation: Operation,
    pub permission: Permission,
}

const CREATE_ACLS: i16 = 30;
const DELETE_ACLS: i16 = 31;
const VERSION: i16 = 1;

/// Adds a right, over a listener whose users may do so.
pub fn add(listener: &str, right: &Right<'_>) -> Result<()> {
    let mut body = Vec::new();
    body.extend(1i32.to_be_bytes());
    write(&mut body, right);
    request(listener, CREATE_ACLS, &body)
}

/// Takes a right away.
pub fn remove(listener: &str, right: &Right<'_>) -> Result<()> {
    let mut body = Vec::new();
    body.extend(1i32.to_be_bytes());
    // The filter has the same fields.
    write(&mut body, right);
    request(listener, DELETE_ACLS, &body)
}

fn write(body: &mut Vec<u8>, right: &Right<'_>) {
    const LITERAL: i8 = 3;
    const PREFIXED: i8 = 4;
    let (kind, name, pattern) = match right.resource {
        Resource::Topic(name) => (2i8, name, LITERAL),
        Resource::Topics(prefix) => (2, prefix, PREFIXED),
        Resource::Groups(prefix) => (3, prefix, PREFIXED),
        Resource::Cluster => (4, "kafka-cluster", LITERAL),
        Resource::TransactionalIds(prefix) => (5, prefix, PREFIXED),
    };
    body.extend(kind.to_be_bytes());
    string(body, name);
    body.extend(pattern.to_be_bytes());
    string(body, &format!("User:{}", right.user));
    string(body, "*");
    body.extend((right.operation as i8).to_be_bytes());
    body.extend((right.permission as i8).to_be_bytes());
}

fn string(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as i16).to_be_bytes());
    body.extend(text.as_bytes());
}

fn request(listener: &str, api: i16, body: &[u8]) -> Result<()> {
    let mut message = Vec::new();
    message.extend(api.to_be_bytes());
    message.extend(VERSION.to_be_bytes());
    message.extend(1i32.to_be_bytes());
    string(&mut message, "lookout-tests");
    message.extend(body);
    let mut stream = TcpStream::connect(listener).with_context(|| format!("no Kafka at {listener}"))?;
    stream.write_all(&(message.len() as i32).to_be_bytes())?;
    stream.write_all(&message)?;
    let mut size = [0; 4];
    stream.read_exact(&mut size).context("Kafka closed the connection")?;
    let mut answer = vec![0; i32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer)?;
    // Correlation id, throttle time, number of results; then the first result's error.
    let error = answer.get(12..14).and_then(|bytes| bytes.try_into().ok()).map(i16::from_be_bytes);
    ensure!(error == Some(0), "Kafka refuses request {api}: error {error:?}");
    Ok(())
}
