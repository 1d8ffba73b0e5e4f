package mspfn.derain

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Matrix
import android.net.Uri
import androidx.exifinterface.media.ExifInterface
import java.io.IOException

/** Reads a picture upright: the decoder leaves the turn of the camera to the EXIF orientation. */
fun readUpright(resolver: ContentResolver, uri: Uri): Bitmap {
    val options = BitmapFactory.Options().apply { inPreferredConfig = Bitmap.Config.ARGB_8888 }
    val stored = resolver.openInputStream(uri)?.use { BitmapFactory.decodeStream(it, null, options) }
        ?: throw IOException("not a picture")
    val exif = resolver.openInputStream(uri)?.use { ExifInterface(it) } ?: return stored
    val turn = Matrix().apply {
        if (exif.isFlipped) postScale(-1f, 1f)
        postRotate(exif.rotationDegrees.toFloat())
    }
    return Bitmap.createBitmap(stored, 0, 0, stored.width, stored.height, turn, true)
}
