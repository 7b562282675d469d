//! Adds and removes ACLs on a real Apache Kafka. rdkafka has no functions for it, and Kafka's own tool takes
//! seconds to start, so the two requests are encoded here, as <https://kafka.apache.org/protocol> specifies
//! them.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, ensure};

/// The resource of an ACL.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    Topic(&'a str),
    /// All topics whose names start with this prefix.
    Topics(&'a str),
    /// All groups whose names start with this prefix.
    Groups(&'a str),
    /// All transactional ids that start with this prefix.
    TransactionalIds(&'a str),
    Cluster,
}

/// The permitted or denied operation, with the protocol's numbers.
#[derive(Debug, Clone, Copy)]
#[repr(i8)]
pub enum Operation {
    All = 2,
    Read = 3,
    Write = 4,
    Describe = 8,
    DescribeConfigs = 10,
}

/// Whether the operation is allowed, or denied in spite of other ACLs; with the protocol's numbers.
#[derive(Debug, Clone, Copy)]
#[repr(i8)]
pub enum Permission {
    Deny = 2,
    Allow = 3,
}

/// An ACL of one user.
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

/// Adds an ACL, over a listener whose users may alter ACLs.
pub fn add(listener: &str, right: &Right<'_>) -> Result<()> {
    let mut body = Vec::new();
    body.extend(1i32.to_be_bytes());
    write(&mut body, right);
    request(listener, CREATE_ACLS, &body)
}

/// Removes an ACL.
pub fn remove(listener: &str, right: &Right<'_>) -> Result<()> {
    let mut body = Vec::new();
    body.extend(1i32.to_be_bytes());
    // The filter of the request has the same fields as an ACL.
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
    let mut stream = TcpStream::connect(listener).with_context(|| format!("no connection to {listener}"))?;
    stream.write_all(&(message.len() as i32).to_be_bytes())?;
    stream.write_all(&message)?;
    let mut size = [0; 4];
    stream.read_exact(&mut size).context("Kafka closed the connection")?;
    let mut answer = vec![0; i32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer)?;
    // Correlation id, throttle time, number of results; then the error code of the first result.
    let error = answer.get(12..14).and_then(|bytes| bytes.try_into().ok()).map(i16::from_be_bytes);
    ensure!(error == Some(0), "Kafka refused request {api}: error {error:?}");
    Ok(())
}
