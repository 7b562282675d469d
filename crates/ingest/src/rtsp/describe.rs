//! Finds a camera's stream: sends OPTIONS and DESCRIBE, and follows redirects.

use lookout_schema::RetryReason;

use super::{
    Phase, description::Track, dialog::Dialog, dialog_error::DialogError, login::Login, message::Response,
};

/// The number of consecutive redirects that are followed.
const MAX_REDIRECTS: usize = 5;

impl Dialog {
    /// Requests the session description, following redirects, and returns the video track to set up.
    pub(super) fn describe(&mut self) -> Result<Track, DialogError> {
        let mut visited = vec![self.address.uri.clone()];
        loop {
            let uri = self.address.uri.clone();
            self.phase.set(Phase::Options);
            let options = self.exchange("OPTIONS", &uri, &[])?;
            self.public = options.header("Public").map(str::to_ascii_uppercase);
            // Cameras that refuse OPTIONS may still answer DESCRIBE. A web server does not.
            let response = if is_redirect(&options) || options.version.starts_with("HTTP/") {
                options
            } else {
                self.phase.set(Phase::Describe);
                self.exchange("DESCRIBE", &uri, &[("Accept", "application/sdp".into())])?
            };
            if response.is_success() && response.version.starts_with("RTSP/") {
                return Track::choose(&response, &uri).map_err(|why| self.context.no_track(&why).into());
            }
            if !is_redirect(&response) {
                return Err(self.context.refused("DESCRIBE", &response).into());
            }
            self.redirect(response.header("Location").unwrap_or_default(), &mut visited)?;
        }
    }

    fn redirect(&mut self, location: &str, visited: &mut Vec<String>) -> Result<(), DialogError> {
        let (address, stated) =
            self.address.redirected(location).map_err(|why| self.context.redirect(&why, location))?;
        if visited.contains(&address.uri) || visited.len() > MAX_REDIRECTS {
            let what = format!(
                "the camera redirects in a loop (last to {}); check the path in `uri`, and the camera's \
                 configuration",
                address.host_and_port()
            );
            return Err(self.context.fault(RetryReason::Unreachable, &what).into());
        }
        visited.push(address.uri.clone());
        tracing::debug!(uri = %self.context.uri, to = address.host_and_port(), "redirected by the camera");
        let same = self.address.is_same_server(&address);
        self.login = match (stated, same) {
            (Some(credentials), _) => Login::new(Some(credentials), false),
            (None, true) => std::mem::replace(&mut self.login, Login::new(None, false)).renewed(),
            (None, false) => Login::new(None, self.login.has_credentials()),
        };
        self.address = address;
        self.phase.set(Phase::Connecting);
        self.reconnect().map_err(|broken| match broken {
            DialogError::Fault(mut fault) => {
                fault.detail += "; the camera redirected to this address";
                DialogError::Fault(fault)
            }
            other => other,
        })
    }
}

fn is_redirect(response: &Response) -> bool {
    matches!(response.code, 301 | 302 | 303 | 307 | 308)
}
