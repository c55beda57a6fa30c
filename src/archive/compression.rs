// SPDX-License-Identifier: GPL-3.0-or-later
//! Detects how an archive is compressed, and decompresses it.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::MtStreamBuilder;

/// The memory that an xz decoder may use in all. `xz -9` needs 65 MiB; published archives do not need more.
const XZ_MEMORY: u64 = 512 << 20;

/// The largest window that is accepted from zstd, as a power of two: that of `zstd --ultra -22`.
const ZSTD_WINDOW: u32 = 27;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952), one or several members.
    Gzip,
    /// The `.xz` format, one or several streams.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Compression {
    /// The compression of a stream that begins with the bytes `start`.
    pub fn detect(start: &[u8]) -> Self {
        if start.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if start.starts_with(b"\xfd7zXZ\0") {
            Self::Xz
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::None
        }
    }
}

/// Compressions that are not supported, with the first bytes of their streams.
const UNSUPPORTED: &[(&str, &[u8])] = &[
    ("bzip2", b"BZh"),
    ("lzip", b"LZIP"),
    ("lzma", b"\x5d\0\0"),
    ("lz4", b"\x04\x22\x4d\x18"),
    ("lzop", b"\x89LZO"),
    ("compress", b"\x1f\x9d"),
    ("zip", b"PK\x03\x04"),
    ("7-Zip", b"7z\xbc\xaf"),
];

/// Refuses a stream that is compressed in an unsupported way.
fn check_support(start: &[u8]) -> io::Result<()> {
    match UNSUPPORTED
        .iter()
        .find(|(_, magic)| start.starts_with(magic))
    {
        None => Ok(()),
        Some((name, _)) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("it is compressed with {name}: expected gzip, xz, zstd or no compression"),
        )),
    }
}

/// The decoded bytes of a stream.
pub struct Decoder<R: BufRead>(Inner<R>);

enum Inner<R: BufRead> {
    Plain(R),
    Gzip(MemberReader<GzDecoder<R>>),
    Xz(MemberReader<XzDecoder<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
}

impl<R: BufRead> Decoder<R> {
    /// Looks at the first bytes of `input` and starts the decoder that fits them.
    ///
    /// # Errors
    /// An input that cannot be read, or whose compression is not supported.
    pub fn new(mut input: R) -> io::Result<Self> {
        // One call fills the buffer with at least the few bytes that are looked at, except from a pipe that
        // delivers byte by byte, which an archive file is not.
        let start = input.fill_buf()?;
        check_support(start)?;
        let inner = match Compression::detect(start) {
            Compression::None => Inner::Plain(input),
            Compression::Gzip => Inner::Gzip(MemberReader::new(input)?),
            Compression::Xz => Inner::Xz(MemberReader::new(input)?),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Inner::Zstd(decoder)
            }
        };
        Ok(Self(inner))
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(input) => input.read(buffer),
            Inner::Gzip(decoder) => decoder.read(buffer),
            Inner::Xz(decoder) => decoder.read(buffer),
            Inner::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// Skips the zeros that archivers and tapes pad a stream with. Says whether that was the end of the input.
fn skip_zeros(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(true);
        }
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            return Ok(false);
        }
        input.consume(zeros);
    }
}

/// A decoder of one member of a compressed file: of one gzip member, or of one xz stream.
trait MemberDecoder: Read + Sized {
    type Input: BufRead;

    fn start(input: Self::Input) -> io::Result<Self>;

    /// The input behind the member, once that is decoded.
    fn into_input(self) -> Self::Input;
}

impl<R: BufRead> MemberDecoder for GzDecoder<R> {
    type Input = R;

    fn start(input: R) -> io::Result<Self> {
        Ok(Self::new(input))
    }

    fn into_input(self) -> R {
        self.into_inner()
    }
}

/// Decodes with as many threads as the stream has blocks and the machine has processors: release tarballs made with
/// `xz -T0` decode that much faster.
impl<R: BufRead> MemberDecoder for XzDecoder<R> {
    type Input = R;

    fn start(input: R) -> io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
        let stream = MtStreamBuilder::new()
            .threads(u32::try_from(threads).unwrap_or(1))
            .memlimit_threading(XZ_MEMORY / 2)
            .memlimit_stop(XZ_MEMORY)
            .decoder()?;
        Ok(Self::new_stream(input, stream))
    }

    fn into_input(self) -> R {
        self.into_inner()
    }
}

/// Decodes the members of an input one after the other. Zeros may follow each, as GNU gzip and xz accept them.
struct MemberReader<D> {
    /// `None` only between two members, and after the last.
    current: Option<D>,
}

impl<D: MemberDecoder> MemberReader<D> {
    fn new(input: D::Input) -> io::Result<Self> {
        Ok(Self {
            current: Some(D::start(input)?),
        })
    }
}

impl<D: MemberDecoder> Read for MemberReader<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(decoder) = &mut self.current {
            let count = decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            let Some(decoder) = self.current.take() else {
                break;
            };
            let mut input = decoder.into_input();
            if !skip_zeros(&mut input)? {
                // Anything but another member is an error of that member's decoder.
                *self = Self::new(input)?;
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{gzip, xz, zstandard};
    use super::*;

    fn decoded(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut contents = Vec::new();
        Decoder::new(bytes)?.read_to_end(&mut contents)?;
        Ok(contents)
    }

    #[test]
    fn each_compression_is_recognised_and_undone() {
        let text = b"the same bytes ".repeat(10_000);
        for (name, bytes) in [
            ("plain", text.clone()),
            ("gzip", gzip(&text)),
            ("xz", xz(&text)),
            ("zstd", zstandard(&text)),
        ] {
            assert_eq!(decoded(&bytes).unwrap(), text, "{name}");
        }
    }

    #[test]
    fn concatenated_streams_are_one() {
        for compress in [gzip, xz, zstandard] {
            let both = [compress(b"one"), compress(b"two")].concat();
            assert_eq!(decoded(&both).unwrap(), b"onetwo");
        }
        for compress in [gzip, xz] {
            let zeros = vec![0; 200_000];
            for padding in [&zeros[..8], &zeros] {
                let padded = [&compress(b"one"), padding, &compress(b"two"), padding].concat();
                assert_eq!(decoded(&padded).unwrap(), b"onetwo");
            }
        }
    }

    #[test]
    fn a_compression_that_is_not_supported_is_named() {
        for (start, name) in [
            (&b"BZh91AY&SY\xff\x1b[31m"[..], "bzip2"),
            (b"LZIP\x01", "lzip"),
            (b"\x5d\0\0\x80\0\xff", "lzma"),
            (b"\x1f\x9d\x90", "compress"),
            (b"PK\x03\x04\x14", "zip"),
        ] {
            let error = decoded(start).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
            assert!(!error.contains(|c: char| c.is_control()), "{error:?}");
        }
    }

    #[test]
    fn truncated_and_damaged_streams_are_errors() {
        // Bytes that do not compress, so that every part of the stream matters.
        let text: Vec<u8> = (0_u32..20_000)
            .map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        for compress in [gzip, xz, zstandard] {
            let bytes = compress(&text);
            assert!(decoded(&bytes[..bytes.len() / 2]).is_err());
            assert!(decoded(&bytes[..bytes.len() - 1]).is_err());
        }
        for compress in [gzip, xz] {
            let mut bytes = compress(&text);
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x40;
            assert!(decoded(&bytes).is_err());
        }
        for compress in [gzip, xz] {
            for zeros in [0, 8] {
                let tail = [vec![0; zeros], b"garbage".to_vec()].concat();
                assert!(decoded(&[compress(b"one"), tail].concat()).is_err());
            }
        }
    }
}
