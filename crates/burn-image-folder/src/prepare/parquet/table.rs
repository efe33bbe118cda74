//! One Parquet file: where its images and classes are, and its rows.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::basic::Compression;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::super::PrepareError;
use super::ParquetSet;
use super::columns::Columns;

/// The largest image that is taken, in bytes.
const IMAGE: usize = 64 << 20;
/// Rows that are in memory at a time.
const ROWS: usize = 32;

/// An image of a table.
pub(super) struct Row {
    /// Name of its class.
    pub class: String,
    /// Content of its file.
    pub image: Vec<u8>,
}

/// A file of which it is known where images and classes are.
pub(super) struct Table {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    columns: Columns,
}

/// What is in a cell.
enum Cell {
    Number(i64),
    Bytes(Vec<u8>),
}

impl Table {
    /// Opens a file.
    pub fn open(path: &Path, set: &ParquetSet<'_>) -> Result<Self, PrepareError> {
        contained(path, || Self::opened(path, set))
    }

    fn opened(path: &Path, set: &ParquetSet<'_>) -> Result<Self, PrepareError> {
        let wrong = |message: String| PrepareError::archive(path, message);
        let file = File::open(path).map_err(|reason| wrong(reason.to_string()))?;
        let reader = SerializedFileReader::new(file).map_err(|error| wrong(error.to_string()))?;
        let columns = Columns::find(reader.metadata().file_metadata(), set).map_err(wrong)?;
        check_packing(reader.metadata(), &columns).map_err(wrong)?;
        Ok(Self {
            path: path.into(),
            reader,
            columns,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of rows, as the file says.
    pub fn rows(&self) -> usize {
        let rows = self.reader.metadata().file_metadata().num_rows();
        usize::try_from(rows).unwrap_or(0)
    }

    /// Shows `visit` every row.
    pub fn for_each(
        &self,
        visit: &mut dyn FnMut(Row) -> Result<(), PrepareError>,
    ) -> Result<(), PrepareError> {
        contained(&self.path, || self.visited(visit))
    }

    fn visited(
        &self,
        visit: &mut dyn FnMut(Row) -> Result<(), PrepareError>,
    ) -> Result<(), PrepareError> {
        let failed = |error: ParquetError| PrepareError::archive(&self.path, error);
        let mut count = 0;
        for group in 0..self.reader.num_row_groups() {
            let group = self.reader.get_row_group(group).map_err(failed)?;
            let Columns { image, class, .. } = &self.columns;
            let mut images = group.get_column_reader(image.place).map_err(failed)?;
            let mut classes = group.get_column_reader(class.place).map_err(failed)?;
            loop {
                let images = cells(&mut images, image.whole).map_err(failed)?;
                let classes = cells(&mut classes, class.whole).map_err(failed)?;
                if images.len() != classes.len() {
                    let message = "it has more images than classes, or fewer: fetch it again";
                    return Err(PrepareError::archive(&self.path, message));
                }
                if images.is_empty() {
                    break;
                }
                for (image, class) in images.into_iter().zip(classes) {
                    let row = self.row(image, class).map_err(|reason| {
                        PrepareError::entry(&self.path, &format!("row {count}"), reason)
                    })?;
                    count += 1;
                    visit(row)?;
                }
            }
        }
        match count == self.rows() {
            true => Ok(()),
            false => Err(PrepareError::archive(
                &self.path,
                format!(
                    "it says that it has {} rows and has {count}: fetch it again",
                    self.rows()
                ),
            )),
        }
    }

    fn row(&self, image: Option<Cell>, class: Option<Cell>) -> Result<Row, String> {
        let image = match image {
            Some(Cell::Bytes(image)) if image.len() <= IMAGE => image,
            Some(Cell::Bytes(image)) => {
                return Err(format!(
                    "of {} bytes, at most {IMAGE} are read",
                    image.len()
                ));
            }
            _ => return Err("which has no image in the file itself".into()),
        };
        let class = match class {
            Some(Cell::Number(number)) => self.columns.name(number)?,
            Some(Cell::Bytes(text)) => {
                String::from_utf8(text).map_err(|_| "whose class is no text".to_string())?
            }
            None => return Err("which has no class".into()),
        };
        Ok(Row { class, image })
    }
}

/// Runs what reads a file. The library panics about some damages.
fn contained<T>(
    path: &Path,
    read: impl FnOnce() -> Result<T, PrepareError>,
) -> Result<T, PrepareError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let message = "it is damaged: fetch it again";
        Err(PrepareError::archive(path, message))
    })
}

/// The next cells of a column, none at its end. `whole` is the level at which a value is there.
fn cells(column: &mut ColumnReader, whole: i16) -> Result<Vec<Option<Cell>>, ParquetError> {
    match column {
        ColumnReader::ByteArrayColumnReader(column) => {
            next(column, whole, |bytes| Cell::Bytes(bytes.data().to_vec()))
        }
        ColumnReader::Int64ColumnReader(column) => next(column, whole, Cell::Number),
        ColumnReader::Int32ColumnReader(column) => {
            next(column, whole, |number| Cell::Number(number.into()))
        }
        _ => Err(ParquetError::General("a column of another type".into())),
    }
}

fn next<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    whole: i16,
    cell: impl Fn(T::T) -> Cell,
) -> Result<Vec<Option<Cell>>, ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (rows, ..) = column.read_records(ROWS, Some(&mut levels), None, &mut values)?;
    // Where nothing can be missing, there are no levels.
    levels.resize(rows, whole);
    let mut values = values.into_iter().map(cell);
    let cells = levels.into_iter().map(|level| match level == whole {
        true => values.next(),
        false => None,
    });
    Ok(cells.collect())
}

/// That all that is to be read is packed in a way that this build reads.
fn check_packing(meta: &ParquetMetaData, columns: &Columns) -> Result<(), String> {
    let groups = meta.row_groups().iter();
    let places = [columns.image.place, columns.class.place];
    let mut packed = groups.flat_map(|group| places.map(|place| group.column(place).compression()));
    let is_read = |packing: &Compression| {
        use Compression::{GZIP, SNAPPY, UNCOMPRESSED};
        matches!(packing, UNCOMPRESSED | SNAPPY | GZIP(_))
    };
    match packed.find(|packing| !is_read(packing)) {
        None => Ok(()),
        Some(packing) => Err(format!(
            "it is packed by {packing}, which is not read: pyarrow.parquet.write_table writes it by Snappy"
        )),
    }
}
