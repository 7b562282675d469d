//! The XML annotation of one image in Pascal VOC's format.

use std::{path::Path, str};

use roxmltree::{Document, Node};

use crate::data::DataError;

/// The content of an annotation file, not yet validated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Annotation {
    pub(super) filename: Option<String>,
    /// Width and height. `None` if the file has none, or zeros, as some tools write.
    pub(super) size: Option<[f64; 2]>,
    pub(super) objects: Vec<Object>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    pub(super) name: String,
    pub(super) difficult: bool,
    /// `xmin, ymin, xmax, ymax` as in the file.
    pub(super) bndbox: Option<[f64; 4]>,
}

/// Parses an annotation file.
///
/// # Errors
/// Returns an error with the position in the file.
pub(super) fn parse(path: &Path, xml: &[u8]) -> Result<Annotation, DataError> {
    let text = str::from_utf8(xml).map_err(|error| {
        let what = "it is not UTF-8 text from this byte on; an annotation must be an XML file";
        DataError::invalid(path, format!("byte {}", error.valid_up_to()), what)
    })?;
    // Tools on Windows write a byte-order mark, which the parser would take for text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document =
        Document::parse(text).map_err(|source| DataError::Xml { path: path.to_owned(), source })?;
    Reader { path, document: &document }.annotation()
}

struct Reader<'a> {
    path: &'a Path,
    document: &'a Document<'a>,
}

impl Reader<'_> {
    fn annotation(&self) -> Result<Annotation, DataError> {
        let root = self.document.root_element();
        if !root.has_tag_name("annotation") {
            let found = root.tag_name().name();
            return Err(self
                .invalid(root, format!("it has <{found}>, and an annotation must start with <annotation>")));
        }
        let size = match child(root, "size") {
            Some(size) => [self.number(size, "width")?, self.number(size, "height")?],
            None => [None, None],
        };
        let objects = root.children().filter(|node| node.has_tag_name("object"));
        Ok(Annotation {
            filename: text(root, "filename").map(str::to_owned),
            size: match size {
                [Some(width), Some(height)] if width != 0.0 && height != 0.0 => Some([width, height]),
                _ => None,
            },
            objects: objects.map(|object| self.object(object)).collect::<Result<_, _>>()?,
        })
    }

    fn object(&self, node: Node<'_, '_>) -> Result<Object, DataError> {
        let Some(name) = text(node, "name") else {
            return Err(self.invalid(node, "the object has no <name>; add the name of its class".into()));
        };
        let bndbox = match child(node, "bndbox") {
            None => None,
            Some(bndbox) => {
                let corner = |name| self.number(bndbox, name);
                match [corner("xmin")?, corner("ymin")?, corner("xmax")?, corner("ymax")?] {
                    [Some(x1), Some(y1), Some(x2), Some(y2)] => Some([x1, y1, x2, y2]),
                    _ => None,
                }
            }
        };
        let difficult = self.number(node, "difficult")?.is_some_and(|number| number != 0.0);
        Ok(Object { name: name.to_owned(), difficult, bndbox })
    }

    fn number(&self, parent: Node<'_, '_>, name: &str) -> Result<Option<f64>, DataError> {
        let Some(node) = child(parent, name) else { return Ok(None) };
        let text = node.text().unwrap_or("").trim();
        let number = text
            .parse()
            .map_err(|_| self.invalid(node, format!("<{name}> is `{text}`, which is not a number")));
        number.map(Some)
    }

    fn invalid(&self, node: Node<'_, '_>, what: String) -> DataError {
        let at = self.document.text_pos_at(node.range().start);
        DataError::invalid(self.path, format!("line {}, column {}", at.row, at.col), what)
    }
}

/// Returns a direct child. Deeper nodes, such as the parts of a person, have boxes too but are not objects.
fn child<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Option<Node<'a, 'b>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name).and_then(|child| child.text()).map(str::trim).filter(|text| !text.is_empty())
}
